"""What is asked of the catalogue. Each runs as it stands on PostgreSQL 13 to 18, on a replica too."""

from __future__ import annotations

from typing import Final, LiteralString

# Relations of any of the names given. %s: schemas, names, pairwise. An empty schema is any schema but the system's.
RELATIONS: Final[LiteralString] = """
SELECT DISTINCT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text
  FROM unnest(%s::text[], %s::text[]) AS wanted (schema, name)
  JOIN pg_class c ON c.relname = wanted.name::name AND c.relname::text = wanted.name
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND (n.nspname::text = wanted.schema
        OR (wanted.schema = '' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%'))
"""

# What a wrong name may have meant.
KNOWN_RELATIONS: Final[LiteralString] = """
SELECT n.nspname::text || '.' || c.relname::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%'
 LIMIT 5000
"""

# One relation's size, what the role may do with it, and whether rows can be hidden from it. %s: oid.
RELATION: Final[LiteralString] = """
SELECT CASE WHEN c.relkind = 'p'
            THEN (SELECT coalesce(sum(greatest(p.reltuples, 0)), 0)::int8
                    FROM pg_partition_tree(c.oid) t JOIN pg_class p ON p.oid = t.relid WHERE t.isleaf)
            ELSE greatest(c.reltuples, 0)::int8 END,
       has_schema_privilege(c.relnamespace, 'USAGE'),
       row_security_active(c.oid),
       c.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_inherits h WHERE h.inhparent = c.oid),
       current_setting('server_encoding'),
       current_user::text
  FROM pg_class c
 WHERE c.oid = %s::oid
"""

# All columns, each with the type that its domains end in and, for an array, the type its elements end in.
# A true array is what some type names as its typarray: int2vector and its like only look like one. %s: oid.
COLUMNS: Final[LiteralString] = """
SELECT a.attname::text,
       format_type(a.atttypid, a.atttypmod),
       format_type(base.oid, -1),
       CASE WHEN a.atttypid = base.oid THEN a.atttypmod ELSE -1 END,
       a.attnotnull,
       coalesce((SELECT l.collname::text FROM pg_collation l WHERE l.oid = a.attcollation), ''),
       base.nspname, base.typname, base.typtype, base.typcategory,
       element.nspname, element.typname, element.typtype, element.typcategory,
       (SELECT s.nspname::text FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace WHERE p.oid = base.typsend),
       (SELECT p.proname::text FROM pg_proc p WHERE p.oid = base.typsend),
       has_column_privilege(a.attrelid, a.attnum, 'SELECT')
  FROM pg_attribute a
 CROSS JOIN LATERAL (
       WITH RECURSIVE chain AS (
            SELECT t.* FROM pg_type t WHERE t.oid = a.atttypid
            UNION ALL
            SELECT t.* FROM chain JOIN pg_type t ON t.oid = chain.typbasetype WHERE chain.typtype = 'd')
       SELECT c.oid, n.nspname::text, c.typname::text, c.typtype::text, c.typcategory::text, c.typsend
         FROM chain c JOIN pg_namespace n ON n.oid = c.typnamespace WHERE c.typtype <> 'd') AS base
  LEFT JOIN LATERAL (
       WITH RECURSIVE chain AS (
            SELECT t.* FROM pg_type t WHERE t.typarray = base.oid
            UNION ALL
            SELECT t.* FROM chain JOIN pg_type t ON t.oid = chain.typbasetype WHERE chain.typtype = 'd')
       SELECT n.nspname::text, c.typname::text, c.typtype::text, c.typcategory::text
         FROM chain c JOIN pg_namespace n ON n.oid = c.typnamespace WHERE c.typtype <> 'd') AS element ON true
 WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""

# Unique indexes over whole columns of all rows, the primary key first, then the narrowest. %s: oid.
KEYS: Final[LiteralString] = """
SELECT i.indisprimary,
       array(SELECT a.attname::text
               FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
              WHERE k.place <= i.indnkeyatts ORDER BY k.place)
  FROM pg_index i
 WHERE i.indrelid = %s::oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
 ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid
"""

# Foreign keys of these relations: name, relation, relation it leads to, columns of both in the same order. %s: oids.
FOREIGN_KEYS_OF: Final[LiteralString] = """
SELECT k.conname::text, k.conrelid::int8, k.confrelid::int8,
       array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, place)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum ORDER BY u.place),
       array(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u (attnum, place)
               JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum ORDER BY u.place)
  FROM pg_constraint k
 WHERE k.contype = 'f' AND k.conrelid = ANY (%s::int8[]::oid[]) AND k.conparentid = 0
 ORDER BY k.conname
"""

# What `signature` of a column is made of, for the columns named, if the relation of this name is still the same one.
# %s: schema, relation, oid, column names.
SIGNATURES: Final[LiteralString] = """
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
       coalesce((SELECT l.collname::text FROM pg_collation l WHERE l.oid = a.attcollation), '')
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname::text = %s
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE c.relname::text = %s AND c.oid = %s::oid AND a.attname::text = ANY (%s::text[])
"""

DATABASE: Final[LiteralString] = "SELECT current_database()::text, pg_is_in_recovery()"
SYSTEM_IDENTIFIER: Final[LiteralString] = "SELECT system_identifier::text FROM pg_control_system()"
TIMELINE: Final[LiteralString] = "SELECT timeline_id FROM pg_control_checkpoint()"
SNAPSHOT: Final[LiteralString] = "SELECT pg_current_snapshot()::text"

# The state that a transaction reads. STATE goes first: its snapshot is the transaction's.
STATE: Final[LiteralString] = "SELECT pg_current_snapshot()::text, pg_is_in_recovery()"
REPLAYED: Final[LiteralString] = "SELECT pg_last_wal_replay_lsn()::text"
INSERTED: Final[LiteralString] = "SELECT pg_current_wal_insert_lsn()::text"
WAL_PAGE_BYTES: Final[LiteralString] = "SELECT current_setting('wal_block_size')"
WAL_FILE: Final[LiteralString] = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"

# The sessions that may have written to this database, ourselves not. A session of another role has neither a type nor
# a time for us; autovacuum, which belongs to no role, writes nothing of ours.
ACTIVITY: Final[LiteralString] = """
WITH other AS (
     SELECT a.pid, a.state, a.backend_type, a.xact_start
       FROM pg_stat_activity a
      WHERE a.datid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
        AND a.usesysid IS NOT NULL AND a.pid <> pg_backend_pid()),
     oldest AS (
     SELECT o.pid, coalesce(o.state, o.backend_type) AS state, o.xact_start
       FROM other o WHERE o.xact_start IS NOT NULL ORDER BY o.xact_start LIMIT 1)
SELECT now()::text, pg_is_in_recovery(), current_user::text,
       (SELECT count(*) FROM other WHERE backend_type IS NULL),
       (SELECT count(*) FROM other WHERE state = 'disabled'),
       oldest.pid, oldest.state, least(oldest.xact_start, now())::text,
       extract(epoch FROM greatest(now() - oldest.xact_start, '0'))::float8
  FROM (SELECT) AS one LEFT JOIN oldest ON true
"""

# The transactions that are prepared in this database: how many, and the oldest's age in seconds.
PREPARED: Final[LiteralString] = """
SELECT count(*), coalesce(extract(epoch FROM now() - min(prepared)), 0)::float8
  FROM pg_prepared_xacts WHERE database = current_database()
"""

# A relation and everything that inherits from it, and what decides whether their rows carry usable transaction ids.
# `subscribed`: rows come from another server. %s: oid.
FAMILY: Final[LiteralString] = """
WITH RECURSIVE family AS (
     SELECT %s::oid AS oid
      UNION SELECT i.inhrelid FROM family JOIN pg_inherits i ON i.inhparent = family.oid)
SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, coalesce(am.amname::text, ''),
       EXISTS (SELECT 1 FROM pg_subscription_rel s WHERE s.srrelid = c.oid)
  FROM family JOIN pg_class c ON c.oid = family.oid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_am am ON am.oid = c.relam
"""

SERVER: Final[LiteralString] = "SELECT version(), EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'citus')"

# %s: oids.
CITUS_TABLES: Final[LiteralString] = (
    "SELECT count(*) FROM pg_dist_partition WHERE logicalrelid::oid = ANY (%s::int8[]::oid[])"
)

# Whether the role may read the transaction ids in the rows: a grant on columns does not include them. %s: oid.
SHOWS_IDS: Final[LiteralString] = """
SELECT EXISTS (
       SELECT 1 FROM pg_attribute a
        WHERE a.attrelid = %s::oid AND a.attname = 'xmin' AND has_column_privilege(a.attrelid, a.attnum, 'SELECT'))
"""

# Whether an index begins with a column. %s: oid, column.
INDEXED: Final[LiteralString] = """
SELECT EXISTS (
       SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = %s::oid AND a.attname::text = %s AND i.indisvalid AND i.indpred IS NULL)
"""

# Members of a relation's family that were attached by transactions of a window: their rows may be older than the
# window, yet they are new here. %s: oid, the window's start and width.
ATTACHED: Final[LiteralString] = """
WITH RECURSIVE family (oid, attached) AS (
     SELECT %s::oid, false
      UNION
     SELECT i.inhrelid,
            family.attached OR ((i.xmin::text::int8 - %s::int8) & 4294967295) <= %s::int8
       FROM family JOIN pg_inherits i ON i.inhparent = family.oid)
SELECT DISTINCT oid::int8 FROM family WHERE attached
"""

ROW_SECURITY: Final[LiteralString] = "SELECT row_security_active(%s::oid), current_user::text"

# Asked after a read in the same transaction. The name leads to the table as it is now, not as the snapshot has it.
# %s: schema, relation.
LIVE_OID: Final[LiteralString] = "SELECT to_regclass(format('%%I.%%I', %s::text, %s::text))::oid::int8"

# Whether a relation that this transaction has read was emptied or rewritten between its snapshot and the read, which
# shows it empty: the snapshot's catalogue names another file than the live one.
REWRITTEN: Final[LiteralString] = """
SELECT EXISTS (
       SELECT 1 FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
        WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.mode = 'AccessShareLock'
          AND c.oid >= 16384 AND c.relkind IN ('r', 'm') AND c.relfilenode <> 0
          AND pg_relation_filenode(c.oid) IS DISTINCT FROM c.relfilenode)
"""
