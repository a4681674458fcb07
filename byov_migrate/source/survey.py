"""What a database holds, for somebody who has no configuration yet: tables, foreign keys, which types can leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, LiteralString

from psycopg import sql

from byov_migrate.config import TableConfig, ValueType
from byov_migrate.source.names import resolve
from byov_migrate.source.session import Session
from byov_migrate.source.shape import Column, TableShape
from byov_migrate.source.values import Unfit, value_reader

COUNTED_ROWS: Final = 100_000
"""Up to here rows are counted; a larger table keeps PostgreSQL's estimate."""

# Tables that people made: no partition, no child of another table, nothing that belongs to an extension.
_TABLES: Final[LiteralString] = """
SELECT c.oid::int8, n.nspname::text, c.relname::text
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition
   AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname NOT LIKE '\\_timescaledb%%'
   AND has_schema_privilege(n.oid, 'USAGE')
   AND NOT EXISTS (SELECT 1 FROM pg_inherits i WHERE i.inhrelid = c.oid)
   AND NOT EXISTS (SELECT 1 FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname, c.relname
 LIMIT 5000
"""

# The columns that the role may read. %s: oid.
_READABLE: Final[LiteralString] = """
SELECT a.attname::text FROM pg_attribute a
 WHERE a.attrelid = %s::oid AND a.attnum > 0 AND NOT a.attisdropped
   AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
 ORDER BY a.attnum
"""

# Foreign keys, and what tells whether their table only joins others: how many columns it has beside dates, and the
# columns of its primary key.
_FOREIGN_KEYS: Final[LiteralString] = """
SELECT k.conname::text, k.conrelid::int8, k.confrelid::int8, n.nspname::text, c.relname::text,
       array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, place)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum ORDER BY u.place),
       array(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u (attnum, place)
               JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum ORDER BY u.place),
       (SELECT count(*) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
         WHERE a.attrelid = k.conrelid AND a.attnum > 0 AND NOT a.attisdropped AND t.typcategory <> 'D'),
       array(SELECT a.attname::text FROM pg_constraint p CROSS JOIN unnest(p.conkey) AS u (attnum)
               JOIN pg_attribute a ON a.attrelid = p.conrelid AND a.attnum = u.attnum
              WHERE p.conrelid = k.conrelid AND p.contype = 'p')
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype = 'f' AND k.conparentid = 0
 ORDER BY n.nspname, c.relname, k.conname
 LIMIT 20000
"""


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table of the database."""

    oid: int
    schema: str
    name: str

    @property
    def written(self) -> str:
        """As `[[tables]] name` reads it."""
        if "." in self.schema or '"' in self.schema + self.name:
            return ".".join('"' + part.replace('"', '""') + '"' for part in (self.schema, self.name))
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key: `columns` of `table` name the row of `target` that has them as `target_columns`; both are oids."""

    constraint: str
    table: int
    target: int
    schema: str
    relation: str
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]
    table_columns: int  # of its table, dates left out
    table_key: frozenset[str]  # of its table: the columns of the primary key

    @property
    def written(self) -> str | None:
        """As `[[links]] foreign_key` reads it; None for a name that cannot be written there."""
        table = FoundTable(self.table, self.schema, self.relation).written
        return None if "." in self.constraint else f"{table}.{self.constraint}"


def find_tables(session: Session) -> list[FoundTable]:
    """Every table that could be migrated, by name. Views and foreign tables have no key of their own."""
    with session.transaction() as transaction:
        return [FoundTable(*row) for row in transaction.fetch(_TABLES)]


def find_table(session: Session, name: str) -> FoundTable:
    """The table or view that a person names. Raise ConfigurationError when it is none or several."""
    with session.transaction() as transaction:
        found = resolve(transaction, name, "--table")
    return FoundTable(found.oid, found.schema, found.name)


def readable_columns(session: Session, table: FoundTable) -> tuple[str, ...]:
    """Names of the columns that the role may read, in the table's order."""
    with session.transaction() as transaction:
        return tuple(row[0] for row in transaction.fetch(_READABLE, (table.oid,)))


def foreign_keys(session: Session) -> list[ForeignKey]:
    """Every foreign key of the database."""
    with session.transaction() as transaction:
        rows = transaction.fetch(_FOREIGN_KEYS)
    return [
        ForeignKey(name, table, target, schema, relation, tuple(columns), tuple(target_columns), count, frozenset(key))
        for name, table, target, schema, relation, columns, target_columns, count, key in rows
    ]


def provisional(table: FoundTable, columns: Sequence[str]) -> TableConfig:
    """An entry with these columns, to have the table described and checked before anything is decided about it."""
    return TableConfig.model_validate({"name": table.written, "label": "Undecided", "columns": list(columns)})


def count_up_to(session: Session, shape: TableShape, limit: int = COUNTED_ROWS) -> int:
    """The number of rows, or `limit` + 1 when there are more; reads no more than that."""
    query = sql.SQL("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT {}) AS first")
    with session.transaction() as transaction:
        counted = transaction.fetch(query.format(shape.from_item, sql.Literal(limit + 1)))
    return int(counted[0][0])


def has_form(column: Column, chosen: ValueType | None = None) -> bool:
    """Whether values of this column can leave at all; else each row that has one is rejected."""
    reader = value_reader(column, chosen)
    read = reader.read(["0"] if reader.as_elements else "0")
    return not (isinstance(read, Unfit) and read.code == "type")
