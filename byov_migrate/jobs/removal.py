"""Records whose rows are gone: deleted after everything else, under a ceiling, only those the ledger knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from threading import Event

from byov_migrate.errors import ConsentNeeded, Interrupted
from byov_migrate.jobs.moving import Mover, ceiling
from byov_migrate.state import State

RECORDS_AT_ONCE = 1000


def require_consent(
    gone: int, known: int, source_rows: int | None, configured: int | None, *, command: str = "sync"
) -> None:
    """Raise ConsentNeeded when more would be deleted than the ceiling allows, or all there is.

    known: records before. source_rows: rows that are selected now, None where nobody counted. configured: the ceiling
    of the table; the greater of 100 rows and 5 % without one. command: what deletes them after all.
    """
    most = ceiling(configured, known)
    emptied = source_rows == 0 and gone > 0
    if gone <= most and not emptied:
        return
    reason = "which leaves none" if emptied else f"more than the ceiling of {most:,}"
    raise ConsentNeeded(
        f"{gone:,} of {known:,} rows are gone from the source, {reason}; nothing deleted",
        next_step=f"if meant: byov-migrate {command} --confirm-deletes",
    )


def remove(chosen: Mover, keys: Sequence[str]) -> int:
    """Delete the records of these keys, see that they are gone, forget them. Return how many there were.

    Raise Interrupted between two portions after a stop; what was begun is finished.
    """
    ends, name = chosen.ends, chosen.work.table.name
    return remove_known(ends.state, name, chosen.delivery.discard, keys, ends.around.stop)


def remove_known(
    state: State, table: str, discard: Callable[[Sequence[str]], None], keys: Sequence[str], stop: Event
) -> int:
    """As `remove`. discard: deletes by record id and sees that they are gone."""
    removed = 0
    rest = iter(keys)
    while some := list(islice(rest, RECORDS_AT_ONCE)):
        if stop.is_set():
            raise Interrupted
        ids = state.ledger.record_ids(table, some)
        state.journal.begin_removal(table, list(ids))
        discard(list(ids.values()))
        state.journal.end_removal(table, list(ids))
        removed += len(ids)
    return removed
