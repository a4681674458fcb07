"""A table ready to move, and the move itself: what `backfill`, `sync` and `rejects retry` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from byov_migrate.config import TableConfig
from byov_migrate.errors import Refused
from byov_migrate.jobs import table_work
from byov_migrate.jobs.accepting import accept_index, accept_source, accept_target
from byov_migrate.jobs.carriers import making
from byov_migrate.jobs.documents import Composer
from byov_migrate.jobs.embedding import Embedder, EmbeddingPlan
from byov_migrate.jobs.linking import drop_links, place_of, register_links, require_quiet
from byov_migrate.jobs.opening import Ends
from byov_migrate.jobs.pipeline import Pipeline, TableFlow, Totals
from byov_migrate.jobs.recovery import settle_intents
from byov_migrate.jobs.stages import Stopwatch
from byov_migrate.jobs.table_work import Accepted, Models, TableWork
from byov_migrate.records import Page
from byov_migrate.source import TableReader
from byov_migrate.state import State
from byov_migrate.target import provision
from byov_migrate.target.delivery import Delivery, Destination
from byov_migrate.target.wire import Index


@dataclass(frozen=True)
class Mover:
    """One table between its ends; nothing of an earlier run is left unsettled.

    unique: whether RushDB keeps `byovKey` unique; asked once, when it first matters, since asking is a write.
    """

    ends: Ends
    work: TableWork
    delivery: Delivery
    unique: Callable[[], bool]


def mover(ends: Ends, table: TableConfig, models: Models) -> Mover:
    """Check, claim, settle what an earlier run left, and count what the indexes hold. Models are loaded first."""
    return settled(ends, prepare(ends, table, models))


def settled(ends: Ends, work: TableWork) -> Mover:
    """A prepared table, after what an earlier run left was settled."""
    require_quiet(ends)
    name = work.table.name
    budget_s = provision.request_budget_s(ends.config.target, ends.server)
    if late_s := min(ends.state.journal.late_s(), budget_s):  # the clock may have been set back
        ends.patience.pause("a vectors call of an earlier run may still be running at the target", late_s)
    label = work.table.label
    unique = cache(lambda: provision.keys_are_unique(ends.wire, ends.patience, label, budget_s=budget_s))
    destination = replace(work.destination, unique=unique)
    work = replace(work, destination=destination)
    delivery = table_work.delivery_for(ends.config, ends.wire, ends.server, work, ends.patience, ends.around)
    settle_intents(
        name,
        work.properties,
        ends.state,
        delivery,
        ends.patience,
        request_budget_s=budget_s,
        surroundings=ends.around,
    )
    _require_whole_ledger(ends, work)
    delivery.begin_counting()
    return Mover(ends, work, delivery, unique)


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


@dataclass(frozen=True)
class Seen:
    """A table and its ends as they are now; nothing is compared or claimed yet."""

    reader: TableReader
    plans: tuple[EmbeddingPlan, ...]
    places: Mapping[str, str]


def looked_at(ends: Ends, table: TableConfig, models: Models, *, lazily: bool) -> Seen:
    """Read the catalog, the models' files and the list of indexes. Raise ConfigurationError for what does not fit."""
    known = ends.patience.retry(ends.wire.indexes)
    reader = ends.reader(table, {item.property_name: item.dimension for item in known if item.label == table.label})
    plans = table_work.embedding_plans(table, reader, models, ends.digests, lazily=lazily)
    project = known[0].project if known else None
    places = table_work.place_fields(ends.system, ends.source_identity.database, ends.digests, project)
    return Seen(reader, plans, places)


def prepare(
    ends: Ends,
    table: TableConfig,
    models: Models,
    *,
    lazily: bool = False,
    accept: Accepted | None = None,
) -> TableWork:
    """Check everything that can be checked, then claim the label and make what is missing: indexes, links let go.

    lazily: models are loaded when there is something to embed. accept: what is taken as it is now, with a word on what
    it was. No row's record is written here, whatever is refused.
    """
    _note_digest(ends)
    seen = looked_at(ends, table, models, lazily=lazily)
    if accept == "source":
        accept_source(ends, table, seen.reader)
    elif accept == "target":
        accept_target(ends, table, seen.places.get("target.project"))
    fields = table_work.settle_scope(ends.state, table, seen.reader, seen.plans, seen.places, ends.links)
    indexes = _own_indexes(ends, table, seen.plans, accepts_gone=accept == "index")
    if indexes:
        fields["target.project"] = indexes[0].project
    ends.state.scope.adopt(fields)
    _remember_making(ends, table, seen.plans)
    if ends.server.kind == "cloud":
        provision.try_paid_queries(ends.wire, ends.patience, table.label, indexes)
    if ends.state.scope.applying(table.name):
        drop_links(ends, table)
    register_links(ends)
    return _work(ends, table, seen, indexes)


def _own_indexes(
    ends: Ends, table: TableConfig, plans: Sequence[EmbeddingPlan], *, accepts_gone: bool
) -> tuple[Index, ...]:
    """Claim the label; the indexes of its embeddings, made where there is none."""
    table_work.claim(ends.wire, ends.patience, ends.state, table, ends.source_name(table))
    anew = accept_index(ends, table, plans) if accepts_gone else []
    indexes = table_work.make_indexes(ends.wire, ends.patience, ends.state, table, plans)
    for index in (index for index in indexes if index.property_name in anew):
        # RushDB removes the old vectors some time after their index; until then one that is found may be an old one.
        ends.patience.retry(partial(provision.require_empty, ends.wire, index))
    return indexes


def _work(ends: Ends, table: TableConfig, seen: Seen, indexes: tuple[Index, ...]) -> TableWork:
    mode = table_work.write_mode(ends.config, ends.server)
    links = tuple(map(place_of, seen.reader.links))
    probes, fingerprints = tuple(plan.probes for plan in seen.plans), tuple(plan.fingerprint for plan in seen.plans)
    destination = Destination(table.label, indexes, mode, probes, links=links)
    composer = Composer(table, ends.digests, ends.state.runs.state_id, fingerprints, seen.reader.links)
    return TableWork(table, seen.reader, seen.plans, composer, destination)


def _remember_making(ends: Ends, table: TableConfig, plans: Sequence[EmbeddingPlan]) -> None:
    """Keep how each embedding's vectors are made: the file may say otherwise when a better model is brought in."""
    for plan in plans:
        item = plan.config
        if item.role.remembered:
            continue
        model = ends.config.models[item.model] if item.model else None
        made = making(item, model, plan.fingerprint)
        ends.state.carriers.remember(table.name, item.property_name, item.carrier, made)


def _note_digest(ends: Ends) -> None:
    """Say once a run which plan it carries out: its digest is what was approved."""
    digest = ends.plan_digest
    noted = ends.state.runs.events(ends.state.store.run or "")
    if not any(event["action"] == "plan-digest" and event["fields"].get("digest") == digest for event in noted):
        ends.note("plan-digest", digest=digest)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is to move.

    total: rows to be confirmed. before: of them, by earlier runs. rows: of the table; they decide the reject ceiling.
    """

    total: int
    before: int
    rows: int


def move(chosen: Mover, pages: Iterable[Page], extent: Extent) -> tuple[Totals, Stopwatch]:
    """Send pages to their end."""
    ends, work = chosen.ends, chosen.work
    config = ends.config.target
    stopwatch = Stopwatch(ends.around.monotonic, {"write": config.writers})
    flow = TableFlow(
        work.table.name,
        work.table.label,
        work.properties,
        extent.total,
        extent.before,
        config.batch_rows,
        config.writers,
        ceiling(work.table.reject_ceiling, extent.rows),
    )
    embedder = Embedder(work.composer, work.plans, stopwatch)
    pipeline = Pipeline(flow, work.composer, embedder, chosen.delivery, ends.state, ends.around, stopwatch)
    totals = pipeline.run(pages)
    chosen.delivery.wait_until_quiet()
    return totals, stopwatch


def unstored(state: State, table: str, pages: Iterable[Page]) -> Iterator[Page]:
    """Pages without the rows that are stored: an earlier run may have proved batches beyond its position."""
    for page in pages:
        known = state.ledger.known_keys(table, [row.key for row in page.rows])
        yield Page(tuple(row for row in page.rows if row.key not in known), page.position)


def ceiling(configured: int | None, rows: int) -> int:
    """The greater of 100 rows and 5 %, unless configured."""
    return configured if configured is not None else max(100, rows // 20)
