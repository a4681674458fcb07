"""What a sync would do: both ends are read, nothing is written anywhere, the state included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from byov_migrate import source
from byov_migrate.config import Config, Entry, TableConfig
from byov_migrate.jobs import table_work
from byov_migrate.jobs.changes import Surveyor
from byov_migrate.jobs.documents import Composer
from byov_migrate.jobs.reading import Reading, reading
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.sync_start import (
    choose_strategy,
    guarantee_of,
    is_sweep_due,
    pages_to_compare,
    require_as_new,
    rows_of,
    where_it_begins,
)
from byov_migrate.jobs.table_work import Models, TableWork
from byov_migrate.jobs.write_planner import WritePlanner
from byov_migrate.target.asking import Asker
from byov_migrate.target.delivery import Destination
from byov_migrate.target.looking import Lookout
from byov_migrate.target.pace import Pace
from byov_migrate.target.provision import DEFAULT_BUDGET_S


@dataclass(frozen=True, slots=True)
class TableForecast:
    """What a sync would do with one table. `sweep`: whether deletes were looked for."""

    table: str
    label: str
    guarantee: str
    sweep: bool
    unchanged: int
    to_create: int
    to_update: int
    to_delete: int
    rejected: int


@dataclass(frozen=True, slots=True)
class SyncForecast:
    """One forecast a table, in the order of the configuration. links: how many kinds of links were not looked at."""

    tables: tuple[TableForecast, ...]
    links: int = 0


def forecast_sync(
    config: Config, *, full: bool = False, tables: Sequence[str] = (), surroundings: Surroundings | None = None
) -> SyncForecast:
    """Look for changes and deletes as `sync` would, and write nothing. Raise what `sync` raises before it writes."""
    around = surroundings or Surroundings()
    config.chosen(tables)  # a wrong name is told before anything is opened
    with reading(config, around) as ends:
        chosen, models = ends.config.chosen(tables), Models(ends.config, around.log)
        forecasts = tuple(_forecast(ends, table, models, around.clock(), full=full) for table in chosen)
        return SyncForecast(forecasts, len(ends.links))


def _forecast(ends: Reading, table: Entry, models: Models, now: float, *, full: bool) -> TableForecast:
    work = _look_at(ends, table, models)
    since = where_it_begins(ends.state, table.name)
    full = full or ends.state.scope.applying(table.name) is not None
    require_as_new(ends.session, since, ends.patience, accepted=full)
    strategy = None if full else choose_strategy(work.reader, since, rows_of(ends.state, table.name))
    sweep = full or table.distinct is not None or is_sweep_due(since, table.sweep_every, now)
    asker = Asker(ends.patience, Pace(1), DEFAULT_BUDGET_S)  # reads alone: no lost answer is waited for
    planner = WritePlanner(work, ends.state, Lookout(ends.wire, asker, table.label).by_id, lambda: False)
    rejected = 0
    with Surveyor(work.reader, ends.state, ends.patience).survey(
        since, strategy, sweep=sweep, follows=not full
    ) as findings:
        for page in pages_to_compare(work, findings, ends.patience, full=full):
            written = planner.page(page)
            rejected += len(written.rows)
        gone = len(findings.gone) if table.distinct is None or table.unused == "remove" else 0
    tally = planner.tally
    return TableForecast(
        table=table.name,
        label=table.label,
        guarantee=guarantee_of(strategy, work.reader),
        sweep=sweep,
        unchanged=tally.unchanged,
        to_create=tally.created,
        to_update=tally.attached + tally.appended + tally.rewritten,
        to_delete=gone,
        rejected=rejected - tally.changed,
    )


def _look_at(ends: Reading, table: TableConfig, models: Models) -> TableWork:
    """A table as a sync would prepare it, with nothing claimed or made at the target."""
    reader = ends.reader(table)
    plans = table_work.embedding_plans(table, reader, models, ends.digests, lazily=True)
    identity = source.source_identity(ends.session)
    system = ends.config.state.source_id or identity.system_identifier or "hidden"
    places = table_work.place_fields(system, identity.database, ends.digests, None)
    table_work.settle_scope(ends.state, table, reader, plans, places, ends.links)
    table_work.require_filled_indexes(ends.wire, ends.patience, ends.state, table, plans)
    fingerprints = tuple(plan.fingerprint for plan in plans)
    composer = Composer(table, ends.digests, ends.state.runs.state_id, fingerprints, reader.links)
    return TableWork(table, reader, plans, composer, Destination(table.label, (), "two-call", ()))
