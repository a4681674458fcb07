"""Whether the server that answers now holds all that was read before."""

from __future__ import annotations

from byov_migrate.source import queries
from byov_migrate.source.cursor import UNKNOWN_LSN, Cursor, read_lsn, read_timeline
from byov_migrate.source.session import Session
from byov_migrate.source.windows import parse_lsn


def replay_gap(session: Session, lsn: str) -> int:
    """Bytes of WAL that a replica has still to replay until it holds `lsn`; 0 on a primary."""
    return session.replay_gap(lsn)


def went_back(session: Session, since: Cursor) -> str | None:
    """Why commits that were read before may be lost now, so that only a full pass with a key sweep helps; else None.

    A replica that lags is not back: `Session.require_replayed` waits for it.
    """
    with session.transaction() as transaction:
        in_recovery = bool(transaction.fetch(queries.STATE)[0][1])
        lsn, timeline = read_lsn(transaction, in_recovery), read_timeline(transaction, in_recovery)
    return reason_for_full_pass(since, Cursor("", None, lsn, timeline, in_recovery))


def reason_for_full_pass(since: Cursor, now: Cursor) -> str | None:
    """`went_back` as arithmetic."""
    if None not in (since.timeline, now.timeline) and since.timeline != now.timeline:
        return (
            f"the source went from timeline {since.timeline} to {now.timeline}: a replica was promoted or a backup"
            " restored, and commits that were read before may be lost"
        )
    known = UNKNOWN_LSN not in (since.lsn, now.lsn)
    if known and not now.in_recovery and parse_lsn(now.lsn) < parse_lsn(since.lsn):
        return (
            f"the source's WAL ends at {now.lsn}, before {since.lsn}, which was read before: a backup was restored, or"
            " a crash lost commits"
        )
    return None
