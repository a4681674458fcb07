"""Where a sync begins: a state of the source, and how it is told from the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, LiteralString

import psycopg

from byov_migrate.source import queries
from byov_migrate.source.activity import Activity
from byov_migrate.source.session import Transaction
from byov_migrate.source.windows import end_of_last_record, format_lsn, parse_lsn

UNKNOWN_LSN: Final = "0/0"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A state of the source. Everything committed before it is known to the reader of it.

    snapshot: `pg_current_snapshot()` as text.
    watermark: a timestamptz in UTC as text: no transaction that the snapshot does not see began earlier; None where
    that cannot be known.
    lsn: read after the snapshot, so a server that holds this much of the WAL holds all that the snapshot sees. The
    replay position on a standby, the insert position on a primary; `0/0` where the server tells neither.
    timeline: None where the role may not ask.
    """

    snapshot: str
    watermark: str | None
    lsn: str
    timeline: int | None
    in_recovery: bool


def read_cursor(transaction: Transaction, activity: Activity, since: Cursor | None) -> Cursor:
    """The state that an open REPEATABLE READ transaction reads.

    activity: read EARLIER than the transaction's snapshot. A transaction that the snapshot does not see then was either
    open at that look, and the watermark is not above its beginning, or it began after the look did. Read later, one
    that committed in between would be in neither. A backend ends being visible as open only after its rows have become
    visible, and it reports its beginning a moment after it took the time: the slack of `changes` covers that.
    since: where the watermark cannot be known its own is kept, which stays true: what a later snapshot does not see, an
    earlier one did not see either.
    """
    snapshot, in_recovery = transaction.fetch(queries.STATE)[0]
    known = None if in_recovery else activity.watermark  # the look may have met another server of a balancer
    if known is None and since is not None:
        known = since.watermark
    return Cursor(
        snapshot, known, read_lsn(transaction, in_recovery), read_timeline(transaction, in_recovery), in_recovery
    )


def read_lsn(transaction: Transaction, in_recovery: bool) -> str:  # noqa: FBT001
    """How far the server's WAL is replayed, or written by itself; `0/0` where it does not tell.

    On a primary not `pg_current_wal_lsn`: a commit with synchronous_commit = off is seen before it is written.
    """
    if in_recovery:
        return str(if_permitted(transaction, queries.REPLAYED) or UNKNOWN_LSN)
    found = if_permitted(transaction, queries.INSERTED)
    page_bytes = int(transaction.fetch(queries.WAL_PAGE_BYTES)[0][0])
    return format_lsn(end_of_last_record(parse_lsn(found), page_bytes)) if found else UNKNOWN_LSN


def read_timeline(transaction: Transaction, in_recovery: bool) -> int | None:  # noqa: FBT001
    """On a primary from the WAL file that is written: the last checkpoint still has the old one after a promotion."""
    if not in_recovery and (name := if_permitted(transaction, queries.WAL_FILE)):
        return int(name[:8], 16)
    found: int | None = if_permitted(transaction, queries.TIMELINE)
    return found


def if_permitted(transaction: Transaction, query: LiteralString) -> Any:
    """The one value of a query; None where a hosted service, a fork or a promotion on the way forbids it."""
    try:
        with transaction.attempt():
            return transaction.fetch(query)[0][0]
    except (  # hosted services hide things; `state.source_id` stands in for what a source is
        psycopg.errors.InsufficientPrivilege,
        psycopg.errors.UndefinedFunction,
        psycopg.errors.FeatureNotSupported,
        psycopg.errors.ObjectNotInPrerequisiteState,
    ):
        return None
