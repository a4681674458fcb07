"""How a session stands to its server: what the role may do, how far a replica is, what is in between, the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, LiteralString

from byov_migrate.source.circumstances import fork_of
from byov_migrate.source.cursor import if_permitted
from byov_migrate.source.session import Session

# `pg_read_all_stats` is a role of every server from 10 on.
_ROLE: Final[LiteralString] = """
SELECT current_user::text, r.rolsuper,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
       pg_is_in_recovery(), version(), pg_backend_pid()
  FROM pg_roles r WHERE r.rolname = current_user
"""
_TLS: Final[LiteralString] = "SELECT version::text FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl"
# A replica that has replayed all it has received is not behind, however long ago the primary last wrote.
_LAG: Final[LiteralString] = """
SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp()) END::float8
"""
_CLOCK: Final[LiteralString] = "SELECT extract(epoch FROM clock_timestamp())::float8"
# Which of these tables the role may change. %s: oids.
_WRITABLE: Final[LiteralString] = """
SELECT c.oid::int8 FROM pg_class c
 WHERE c.oid = ANY (%s::int8[]::oid[])
   AND (has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') OR has_any_column_privilege(c.oid, 'UPDATE'))
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the server says of itself and of us.

    is_pooled: the process that answers is not the one that was connected to. lag_s: seconds that a replica is behind,
    None on a primary and where it cannot be told. tls: the protocol of the server's own connection, None without.
    """

    role: str
    is_superuser: bool
    sees_all_activity: bool
    in_recovery: bool
    lag_s: float | None
    fork: str | None
    is_pooled: bool
    tls: str | None


def read_standing(session: Session) -> Standing:
    """Ask. Raise the errors of a session."""
    with session.transaction() as transaction:
        role, is_superuser, sees_all, in_recovery, version, pid = transaction.fetch(_ROLE)[0]
        lag_s = if_permitted(transaction, _LAG) if in_recovery else None
        encrypted = transaction.fetch(_TLS)
        # A pooler hands out a number of its own for cancelling; a server hands out its process.
        is_pooled = transaction.connection.info.backend_pid != pid
    tls = str(encrypted[0][0]) if encrypted else None
    return Standing(role, is_superuser, sees_all, in_recovery, lag_s, fork_of(version), is_pooled, tls)


def writable(session: Session, oids: Sequence[int]) -> set[int]:
    """Those of the tables that the role could change."""
    with session.transaction() as transaction:
        return {row[0] for row in transaction.fetch(_WRITABLE, (list(oids),))}


def server_clock(session: Session) -> float:
    """Seconds since 1970 by the server's clock."""
    with session.transaction() as transaction:
        return float(transaction.fetch(_CLOCK)[0][0])
