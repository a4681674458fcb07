"""Where a migration stands, from the state alone: no connection, no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from byov_migrate.config import Config, Entry
from byov_migrate.errors import Unavailable
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.state import State, open_state

LAST_RUNS = 5
SHOWN_NOWHERE = 1000


@dataclass(frozen=True, slots=True)
class CarrierStatus:
    """One set of vectors of an embedding. live: what searches use."""

    embedding: str
    property_name: str
    model: str
    vectors: int
    live: bool
    complete: bool


@dataclass(frozen=True, slots=True)
class TableStatus:
    """One table's position."""

    table: str
    label: str
    rows_planned: int | None  # None before the first backfill
    rows_stored: int
    ranges: int
    ranges_done: int
    rejects: int
    unsettled_batches: int
    synced_at: float | None  # the last complete sync, seconds since 1970
    swept_at: float | None  # when deletes were last looked for
    carriers: tuple[CarrierStatus, ...] = ()  # of embeddings whose vectors stand elsewhere, or of two kinds
    applying: bool = False  # records lag behind changed settings; the next backfill or sync goes on with them
    refilling: tuple[str, ...] = ()  # properties whose index was made again: records lack vectors


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One link. stored: links that stand. loose: to be made by the next run. dangling: they lead to no record.

    nowhere: source and target keys of some that lead to no record.
    """

    name: str
    stored: int
    loose: int
    dangling: int
    nowhere: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Status:
    """The state's own account. `age_s`: seconds since the last backfill or sync that ended 0 or 3; None before one."""

    state_id: str
    tables: tuple[TableStatus, ...]
    links: tuple[LinkStatus, ...]
    runs: tuple[Mapping[str, Any], ...]
    events: tuple[Mapping[str, Any], ...]
    age_s: float | None


def status(
    config: Config,
    *,
    run: str | None = None,
    max_age_s: float | None = None,
    dangling: bool = False,
    surroundings: Surroundings | None = None,
) -> Status:
    """The position of every table, the last runs, and with `run` (the beginning of an id) that run's events.

    dangling: also the keys of up to 1,000 links of each kind that lead to no record.

    Raise Unavailable when the last complete run is older than `max_age_s`; Refused when there is no state.
    """
    around = surroundings or Surroundings()
    state = open_state(config.state_path, around.clock, create=False)
    try:
        found = _status(config, state, run, around.clock(), SHOWN_NOWHERE if dangling else 0)
    finally:
        state.close()
    if max_age_s is not None and (found.age_s is None or found.age_s > max_age_s):
        age = (
            "there is no complete run"
            if found.age_s is None
            else f"the last complete run ended {found.age_s:,.0f} s ago"
        )
        raise Unavailable(f"{age}, more than {max_age_s:,.0f} s are allowed")
    return found


def _status(config: Config, state: State, run: str | None, now: float, nowhere: int) -> Status:
    runs = state.runs.last(LAST_RUNS)
    complete = [item["ended_at"] for item in state.runs.last(1000) if _is_complete(item)]
    synced = [since.synced_at if (since := state.cursors.of(table.name)) else None for table in config.tables]
    if synced and (oldest := min((moment or 0.0) for moment in synced)):
        complete.append(oldest)  # by a run that has not come to its end: a re-embedding syncs as it goes
    return Status(
        state_id=state.runs.state_id,
        tables=tuple(_table(state, table) for table in config.entries),
        links=tuple(_link(state, name, nowhere) for name in state.links.names()),
        runs=tuple(runs),
        events=tuple(state.runs.events(run)) if run else (),
        age_s=max(now - max(complete), 0.0) if complete else None,
    )


def _is_complete(run: Mapping[str, Any]) -> bool:
    """Whether a run brought everything there was; one for single keys, or with a limit, did not."""
    limited = any(
        not table.get("complete", True) for table in (run["summary"] or {}).values() if isinstance(table, dict)
    )
    return run["command"] in ("backfill", "sync", "reembed") and run["exit_code"] in (0, 3) and not limited


def _table(state: State, table: Entry) -> TableStatus:
    name = table.name
    plan, since = state.journal.plan(name), state.cursors.of(name)
    applying = state.scope.applying(name)
    return TableStatus(
        table=name,
        label=table.label,
        rows_planned=plan.rows if plan else None,
        rows_stored=state.ledger.count_records(name),
        ranges=plan.ranges if plan else 0,
        ranges_done=plan.ranges_done if plan else 0,
        rejects=state.ledger.count_rejects(name),
        unsettled_batches=len(state.journal.intents(name)),
        synced_at=since.synced_at if since else None,
        swept_at=since.swept_at if since else None,
        carriers=tuple(one for item in table.embeddings for one in _carriers(state, name, item.property_name)),
        applying=applying is not None and len(applying.fields) > len(applying.refilled),
        refilling=applying.refilled if applying else (),
    )


def _carriers(state: State, table: str, embedding: str) -> list[CarrierStatus]:
    carriers = state.carriers.of(table, embedding)
    if len(carriers) < 2 and all(item.property_name == embedding for item in carriers):
        return []
    return [
        CarrierStatus(
            embedding,
            item.property_name,
            item.making.name,
            state.ledger.count_vectors(table, item.property_name),
            item.live,
            item.complete,
        )
        for item in carriers
    ]


def _link(state: State, name: str, nowhere: int) -> LinkStatus:
    counts = state.links.counts(name)
    shown = tuple(state.links.dangling(name, nowhere)) if nowhere else ()
    return LinkStatus(name, counts.linked, counts.edges - counts.linked, counts.dangling, shown)
