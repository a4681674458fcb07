"""Rows that were refused: listed, tried again, or accepted as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from byov_migrate.config import Config, TableConfig
from byov_migrate.errors import ConfigurationError
from byov_migrate.jobs.moving import Extent, Mover, move, mover
from byov_migrate.jobs.opening import Ends, opened, written_state
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.table_work import Models
from byov_migrate.jobs.write_planner import WritePlanner
from byov_migrate.records import Page
from byov_migrate.state import open_state


@dataclass(frozen=True, slots=True)
class RetryResult:
    """What became of the rejects of all tables: now stored, still rejected, gone from the source."""

    stored: int
    rejected: int
    gone: int

    @property
    def exit_code(self) -> int:
        """3 while rows are still rejected."""
        return 3 if self.rejected else 0


def list_rejects(
    config: Config, *, table: str | None = None, surroundings: Surroundings | None = None
) -> list[dict[str, Any]]:
    """Every reject of one table or all, oldest first. Raise Refused when there is no state."""
    around = surroundings or Surroundings()
    name = config.table(table).name if table else None
    with contextlib.closing(open_state(config.state_path, around.clock, create=False)) as state:
        return state.ledger.rejects(name)


def accept_rejects(
    config: Config,
    *,
    reason: str,
    by: str,
    key: str | None = None,
    code: str | None = None,
    table: str | None = None,
    surroundings: Surroundings | None = None,
) -> int:
    """Accept one reject by key, or all of one code: no difference any more. Return how many.

    Raise ConfigurationError when nothing fits, Busy while another run is at work.
    """
    around = surroundings or Surroundings()
    if (key is None) == (code is None):
        raise ConfigurationError("name either one KEY or a --code")
    entries = [config.table(table)] if table else config.entries
    with written_state(config, "rejects accept", around) as state:
        counts = [
            state.journal.accept_rejects(entry.name, key=key, code=code, by=by, reason=reason) for entry in entries
        ]
        state.runs.note("rejects-accepted", count=sum(counts), by=by, reason=reason)
        state.runs.end_run(0, {"accepted": sum(counts)})
    if not sum(counts):
        raise ConfigurationError("no rejected row fits", next_step="byov-migrate rejects list")
    return sum(counts)


def retry_rejects(config: Config, *, table: str | None = None, surroundings: Surroundings | None = None) -> RetryResult:
    """Read the rejected rows again and send those that are fit now. Raise what `backfill` raises."""
    around = surroundings or Surroundings()
    names = [config.table(table).name] if table else [entry.name for entry in config.entries]
    with opened(config, "rejects retry", around) as ends:
        entries = [ends.config.table(name) for name in names]
        models = Models(ends.config, around.log)
        results = [_retry_table(ends, entry, models) for entry in entries]
        result = RetryResult(*(sum(part) for part in zip(*results, strict=True)))
        ends.finish(result.exit_code, {"stored": result.stored, "rejected": result.rejected, "gone": result.gone})
    return result


def _retry_table(ends: Ends, table: TableConfig, models: Models) -> tuple[int, int, int]:
    waiting = [item for item in ends.state.ledger.rejects(table.name) if item["accepted_at"] is None]
    if not waiting:
        return 0, 0, 0
    chosen = mover(ends, table, models)
    rows = chosen.work.reader.rows([tuple(item["position"]) for item in waiting])
    present = {row.key for row in rows}
    gone = [item["key"] for item in waiting if item["key"] not in present]
    ends.state.journal.forget_rejects(table.name, gone)
    planner = WritePlanner(chosen.work, ends.state, chosen.delivery.fetch, chosen.unique)
    pages = planner.pages([Page(tuple(rows), None)])
    totals, _stopwatch = move(chosen, pages, Extent(len(rows), 0, _rows(chosen, waiting)))
    ends.state.journal.forget_rejects(table.name, planner.mended)
    return totals.rows, totals.rejected, len(gone)


def _rows(chosen: Mover, waiting: Sequence[Any]) -> int:
    """So many that the ceiling cannot stop what was let through before."""
    plan = chosen.ends.state.journal.plan(chosen.work.table.name)
    return max(plan.rows if plan else 0, 20 * len(waiting))
