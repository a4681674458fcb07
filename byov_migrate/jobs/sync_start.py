"""Where a sync begins, how it sees changes, and whether deletes are to be looked for."""

from __future__ import annotations

from collections.abc import Iterator

from byov_migrate.errors import ConfigurationError, Refused
from byov_migrate.jobs.changes import Findings
from byov_migrate.jobs.ranges import page_rows_for, pages_of, whole_table
from byov_migrate.jobs.table_work import TableWork
from byov_migrate.records import Page
from byov_migrate.source import Cursor, NoStrategy, Session, Strategy, TableReader, went_back
from byov_migrate.state import State
from byov_migrate.state.cursors import Synced
from byov_migrate.target.retry import Patience

READ_EVERYTHING = "complete: every row is read and compared"
ALL_VALUES = "complete: the distinct values are compared whenever rows have changed"


def where_it_begins(state: State, table: str) -> Synced:
    """Raise Refused before the backfill is complete."""
    plan, since = state.journal.plan(table), state.cursors.of(table)
    if plan is None or since is None or plan.ranges_done < plan.ranges:
        raise Refused(f"the backfill of {table} is not complete", next_step="byov-migrate backfill")
    return since


def require_as_new(session: Session, since: Synced, patience: Patience, *, accepted: bool) -> None:
    """Wait for a replica that lags. Raise Refused when the source may have lost what was copied, unless `accepted`."""
    cursor = Cursor(**since.cursor)
    reason = went_back(session, cursor)
    if reason is None:
        patience.retry(lambda: session.require_replayed(cursor.lsn))
    elif not accepted:
        raise Refused(f"{reason}; nothing written", next_step="byov-migrate sync --full --accept source")


def guarantee_of(strategy: Strategy | None, reader: TableReader) -> str:
    """What a sync sees, in one sentence."""
    if strategy is not None:
        return strategy.guarantee
    return READ_EVERYTHING if reader.shape.derived is None else ALL_VALUES


def choose_strategy(reader: TableReader, since: Synced, rows: int) -> Strategy | None:
    """How changes are seen; None for distinct values, which come and go and never change.

    Raise ConfigurationError with the reasons when they cannot be.
    """
    if reader.shape.derived is not None:
        return None
    found = reader.strategy(Cursor(**since.cursor), rows)
    if isinstance(found, NoStrategy):
        lines = "\n  ".join(found.reasons)
        raise ConfigurationError(
            f"changes of {reader.table.name} cannot be told from the rest\n  {lines}",
            next_step="byov-migrate sync --full",
        )
    return found


def is_sweep_due(since: Synced, every_s: float, now: float) -> bool:
    """Whether deletes are to be looked for; a clock that was set back makes it due."""
    return since.swept_at is None or not 0 <= now - since.swept_at < every_s


def rows_of(state: State, table: str) -> int:
    """About how many rows a table has."""
    plan = state.journal.plan(table)
    return max(plan.rows if plan else 0, state.ledger.count_records(table))


def pages_to_compare(work: TableWork, findings: Findings, patience: Patience, *, full: bool) -> Iterator[Page]:
    """The rows that changed, or all."""
    page_rows = page_rows_for(embeds=work.embeds)
    if full:
        return whole_table(work.reader, page_rows, patience)
    return pages_of(work.reader, findings.changed.positions(), page_rows, patience)
