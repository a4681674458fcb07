"""Figures for monitoring, from the state alone: they are there whatever became of the last run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from byov_migrate.config import Config
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.state import State, open_state

RUNS_LOOKED_AT = 1000


@dataclass(frozen=True, slots=True)
class TableMetrics:
    """One table. Moments are seconds since 1970, None before the first; `last` is what its last complete sync did."""

    table: str
    label: str
    synced_at: float | None
    swept_at: float | None
    records: int
    rejects: int
    last: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Metrics:
    """All tables, and how the last sync ended; None while it is at work, or when there was none."""

    tables: tuple[TableMetrics, ...]
    exit_code: int | None


def read_metrics(config: Config, surroundings: Surroundings | None = None) -> Metrics:
    """Raise Refused when there is no state."""
    around = surroundings or Surroundings()
    with contextlib.closing(open_state(config.state_path, around.clock, create=False)) as state:
        runs = [run for run in state.runs.last(RUNS_LOOKED_AT) if run["command"] == "sync"]
        tables = tuple(_table(state, table.name, table.label, runs) for table in config.entries)
    return Metrics(tables, runs[0]["exit_code"] if runs else None)


def _table(state: State, name: str, label: str, runs: list[dict[str, Any]]) -> TableMetrics:
    since = state.cursors.of(name)
    summaries = (run["summary"] for run in runs if run["exit_code"] in (0, 3) and run["summary"])
    return TableMetrics(
        table=name,
        label=label,
        synced_at=since.synced_at if since else None,
        swept_at=since.swept_at if since else None,
        records=state.ledger.count_records(name),
        rejects=state.ledger.count_rejects(name),
        last=next((summary[name] for summary in summaries if name in summary), {}),
    )
