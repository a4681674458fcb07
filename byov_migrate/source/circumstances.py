"""What decides how the changes of a table can be told, as a server has it now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from byov_migrate.config import TableConfig
from byov_migrate.source import queries
from byov_migrate.source.activity import Activity, read_activity
from byov_migrate.source.cursor import UNKNOWN_LSN, read_lsn
from byov_migrate.source.session import Session, Transaction
from byov_migrate.source.shape import TableShape

# What calls itself PostgreSQL on the wire, but keeps its rows and transactions in its own way.
_FORKS: Final = (
    *("Greenplum", "Redshift", "CockroachDB", "YugabyteDB", "Materialize", "CrateDB", "QuestDB", "RisingWave"),
    *("openGauss", "GaussDB", "Cloudberry", "Vertica", "Denodo", "immudb", "Babelfish"),
)


@dataclass(frozen=True, slots=True)
class Member:
    """The table itself, or one that inherits from it. `kind` is pg_class.relkind."""

    oid: int
    schema: str
    name: str
    kind: str
    access_method: str
    is_subscribed: bool  # its rows arrive by logical replication

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """The server, the table with all that inherits from it, and the open transactions."""

    snapshot: str
    members: Sequence[Member]
    fork: str | None  # its name
    is_distributed: bool  # over the nodes of Citus
    tells_replay: bool  # on a replica: whether it says how far it is
    shows_ids: bool  # the role may read the transaction ids of rows
    is_indexed: bool  # an index begins with changed_by
    activity: Activity


def fork_of(version: str) -> str | None:
    """The name of what is not PostgreSQL itself, by the text of `version()`."""
    if "-YB-" in version:
        return "YugabyteDB"
    known = next((name for name in _FORKS if name.lower() in version.lower()), None)
    return known or (None if version.startswith("PostgreSQL ") else version.split(" ", 1)[0])


def read_circumstances(session: Session, shape: TableShape, table: TableConfig) -> Circumstances:
    """Ask the server, in two short transactions. Raise the errors of a session."""
    activity = read_activity(session)
    with session.transaction() as transaction:
        snapshot, in_recovery = transaction.fetch(queries.STATE)[0]
        members = [Member(*row) for row in transaction.fetch(queries.FAMILY, (shape.oid,))]
        version, has_citus = transaction.fetch(queries.SERVER)[0]
        return Circumstances(
            snapshot,
            members,
            fork_of(version),
            has_citus and _is_distributed(transaction, members),
            not in_recovery or read_lsn(transaction, in_recovery) != UNKNOWN_LSN,
            bool(transaction.fetch(queries.SHOWS_IDS, (shape.oid,))[0][0]),
            table.changed_by is not None
            and bool(transaction.fetch(queries.INDEXED, (shape.oid, table.changed_by))[0][0]),
            activity,
        )


def _is_distributed(transaction: Transaction, members: Sequence[Member]) -> bool:
    return bool(transaction.fetch(queries.CITUS_TABLES, ([member.oid for member in members],))[0][0])
