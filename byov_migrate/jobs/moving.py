"""A table ready to move, and the move itself: what `backfill`, `rejects retry` and every later writer share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from byov_migrate.config import TableConfig
from byov_migrate.errors import Refused
from byov_migrate.jobs import table_work
from byov_migrate.jobs.documents import Composer
from byov_migrate.jobs.embedding import Embedder
from byov_migrate.jobs.opening import Ends
from byov_migrate.jobs.pipeline import Pipeline, TableFlow, Totals
from byov_migrate.jobs.recovery import settle_intents
from byov_migrate.jobs.stages import Stopwatch
from byov_migrate.jobs.table_work import Models, TableWork
from byov_migrate.records import Page
from byov_migrate.target import provision
from byov_migrate.target.delivery import Delivery, Destination


@dataclass(frozen=True)
class Mover:
    """One table between its ends; nothing of an earlier run is left unsettled."""

    ends: Ends
    work: TableWork
    delivery: Delivery


def mover(ends: Ends, table: TableConfig, models: Models) -> Mover:
    """Check, claim, settle what an earlier run left, and count what the indexes hold."""
    work = _prepare(ends, table, models)
    delivery = table_work.delivery_for(ends.config, ends.wire, ends.server, work, ends.patience, ends.around)
    settle_intents(
        table.name,
        work.properties,
        ends.state,
        delivery,
        ends.patience,
        request_budget_s=provision.request_budget_s(ends.config.target, ends.server),
        surroundings=ends.around,
    )
    _require_whole_ledger(ends, work)
    delivery.begin_counting()
    return Mover(ends, work, delivery)


def _require_whole_ledger(ends: Ends, work: TableWork) -> None:
    """Raise Refused when the target holds records of ours that the state does not know: they would be doubled.

    That is so after a backup was restored that is older than the last run.
    """
    name, label = work.table.name, work.table.label
    _, stored = ends.patience.retry(lambda: ends.wire.find(label, provision.OURS, limit=1))
    known = ends.state.ledger.count_records(name)
    if stored > known:
        raise Refused(
            f"RushDB holds {stored:,} records of {label} that byov-migrate wrote, and this state knows {known:,} of"
            " them; nothing was written. Was a backup restored that is older than the last run? Use the newest state"
        )


def _prepare(ends: Ends, table: TableConfig, models: Models) -> TableWork:
    """Check everything that can be checked, then claim the label: a refusal comes before the first write."""
    reader = ends.reader(table)
    plans = table_work.embedding_plans(table, reader, models, ends.digests)
    known = ends.patience.retry(ends.wire.indexes)
    project = known[0].project if known else None
    places = table_work.place_fields(ends.system, ends.source_identity.database, ends.digests, project)
    fields = table_work.settle_scope(ends.state, table, reader, plans, places)
    indexes = table_work.occupy(ends.wire, ends.patience, ends.state, table, plans, ends.source_name(table))
    if indexes:
        fields["target.project"] = indexes[0].project
    ends.state.scope.adopt(fields)
    if ends.server.kind == "cloud":
        provision.try_paid_queries(ends.wire, ends.patience, table.label, indexes)
    mode = table_work.write_mode(ends.config, ends.server)
    destination = Destination(table.label, indexes, mode, tuple(plan.probes for plan in plans))
    fingerprints = tuple(plan.fingerprint for plan in plans)
    composer = Composer(table, ends.digests, ends.state.runs.state_id, fingerprints)
    return TableWork(table, reader, plans, composer, destination)


def move(chosen: Mover, pages: Iterable[Page], *, total: int, rows: int) -> tuple[Totals, Stopwatch]:
    """Send pages to their end.

    total: what progress is measured against; rows: of the table, for the reject ceiling.
    """
    ends, work = chosen.ends, chosen.work
    config = ends.config.target
    stopwatch = Stopwatch(ends.around.monotonic, {"write": config.writers})
    flow = TableFlow(
        work.table.name,
        work.table.label,
        work.properties,
        total,
        config.batch_rows,
        config.writers,
        _ceiling(work.table.reject_ceiling, rows),
    )
    embedder = Embedder(work.composer, work.plans, stopwatch)
    pipeline = Pipeline(flow, work.composer, embedder, chosen.delivery, ends.state, ends.around, stopwatch)
    return pipeline.run(pages), stopwatch


def _ceiling(configured: int | None, rows: int) -> int:
    """The greater of 100 rows and 5 %, unless configured."""
    return configured if configured is not None else max(100, rows // 20)
