"""All rows of every table to RushDB, resumable at any moment: the stored plan is worked through, range by range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from byov_migrate.config import Config, TableConfig
from byov_migrate.errors import DifferencesFound
from byov_migrate.jobs import table_work
from byov_migrate.jobs.documents import Composer, leaving, staying
from byov_migrate.jobs.embedding import Embedder
from byov_migrate.jobs.opening import Ends, opened
from byov_migrate.jobs.pipeline import Pipeline, TableFlow, Totals
from byov_migrate.jobs.recovery import settle_intents
from byov_migrate.jobs.stages import Stopwatch
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.table_work import Models, TableWork
from byov_migrate.records import Page
from byov_migrate.source import TableReader
from byov_migrate.target import provision
from byov_migrate.target.delivery import Delivery, Destination

RANGE_ROWS = 10_000
PAGE_ROWS_READY = 1000
PAGE_ROWS_EMBEDDED = 256
"""Rows that are embedded together: enough to sort by length, few enough to settle within a stop's grace on a CPU."""


@dataclass(frozen=True, slots=True)
class TableResult:
    """What a backfill did with one table, and what the target holds now."""

    table: str
    label: str
    rows_planned: int
    rows_stored: int  # in the target, whatever run stored them
    vectors_stored: int
    rejects: int  # not accepted, whatever run met them
    this_run: Totals
    seconds: float
    bytes_out: int
    requests: int
    busy: dict[str, float]  # share of the time each stage was at work
    properties_sent: tuple[str, ...]
    columns_kept: tuple[str, ...]
    complete: bool = False  # False when --limit ended it
    rows_in_source: int | None = None  # counted at the end of a complete backfill


@dataclass(frozen=True, slots=True)
class BackfillResult:
    """One result a table, in the order of the configuration."""

    tables: tuple[TableResult, ...]

    @property
    def exit_code(self) -> int:
        """3 when this run rejected rows that were not rejected before."""
        return 3 if any(table.this_run.rejected_new for table in self.tables) else 0


def backfill(
    config: Config,
    *,
    limit: int | None = None,
    tables: Sequence[str] = (),
    surroundings: Surroundings | None = None,
) -> BackfillResult:
    """Bring every row of the chosen tables (all by default) into RushDB; stored rows are left alone.

    limit: stop, complete as far as it goes, once this many rows of each table are stored. Raise the errors of
    `errors.py`; on Interrupted everything that was in flight is settled.
    """
    around = surroundings or Surroundings()
    table_work.require_known_tables(config)
    chosen = [config.table(name) for name in tables] or list(config.tables)
    with opened(config, "backfill", around) as ends:
        models = Models(config, around.log)
        result = BackfillResult(tuple(_backfill_table(ends, table, models, limit) for table in chosen))
        ends.finish(result.exit_code, {table.table: table.this_run.rows for table in result.tables})
    return result


def _backfill_table(ends: Ends, table: TableConfig, models: Models, limit: int | None) -> TableResult:
    reader = ends.reader(table)
    work = _prepare(ends, table, reader, models)
    delivery = table_work.delivery_for(ends.config, ends.wire, ends.server, work, ends.patience, ends.around)
    _plan_once(ends, work)
    settle_intents(
        table.name,
        work.properties,
        ends.state,
        delivery,
        ends.patience,
        request_budget_s=provision.request_budget_s(ends.config.target, ends.server),
        surroundings=ends.around,
    )
    delivery.begin_counting()
    return _move(ends, work, delivery, limit)


def _prepare(ends: Ends, table: TableConfig, reader: TableReader, models: Models) -> TableWork:
    """Check everything that can be checked, then claim the label: a refusal comes before the first write."""
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


def _plan_once(ends: Ends, work: TableWork) -> None:
    """Store the plan and the snapshot before it: the first sync begins where the backfill began."""
    name = work.table.name
    if ends.state.journal.plan(name) is not None:
        return
    planned = work.reader.plan_ranges(RANGE_ROWS)
    ends.state.journal.store_plan(name, planned.boundaries, rows=planned.rows, snapshot=planned.snapshot)
    ends.note("planned", table=name, rows=planned.rows, ranges=len(planned.ranges))


def _move(ends: Ends, work: TableWork, delivery: Delivery, limit: int | None) -> TableResult:
    name, config = work.table.name, ends.config
    plan = ends.state.journal.plan(name)
    rows_planned = plan.rows if plan else 0
    stored_before, sent_before = ends.state.ledger.count_records(name), ends.wire.bytes_sent
    stopwatch = Stopwatch(ends.around.monotonic, {"write": config.target.writers})
    left = None if limit is None else max(limit - stored_before, 0)
    flow = TableFlow(
        name,
        work.table.label,
        work.properties,
        rows_planned if limit is None else min(limit, rows_planned),
        config.target.batch_rows,
        config.target.writers,
        _ceiling(work.table.reject_ceiling, rows_planned),
    )
    embedder = Embedder(work.composer, work.plans, stopwatch)
    pipeline = Pipeline(flow, work.composer, embedder, delivery, ends.state, ends.around, stopwatch)
    totals = pipeline.run(_pages(ends, work, left))
    complete = limit is None or not _rest_of_plan(ends, name)
    if complete:
        _compare_counts(ends, work)
    result = _result(ends, work, totals, stopwatch, ends.wire.bytes_sent - sent_before)
    return replace(result, complete=complete, rows_in_source=work.reader.count() if complete else None)


def _ceiling(configured: int | None, rows: int) -> int:
    """The greater of 100 rows and 5 %, unless configured."""
    return configured if configured is not None else max(100, rows // 20)


def _rest_of_plan(ends: Ends, name: str) -> bool:
    plan = ends.state.journal.plan(name)
    return plan is not None and plan.ranges_done < plan.ranges


def _pages(ends: Ends, work: TableWork, left: int | None) -> Iterator[Page]:
    """The pages of every open range, in key order, at most `left` rows of them that are not stored yet."""
    page_rows = PAGE_ROWS_EMBEDDED if work.embeds else PAGE_ROWS_READY
    ranges = ends.state.journal.open_ranges(work.table.name)
    pages = (page for key_range in ranges for page in work.reader.pages(key_range, page_rows))
    if left is None:
        yield from pages
        return
    for page in pages:
        if left <= 0:
            return
        known = ends.state.ledger.known_keys(work.table.name, [row.key for row in page.rows])
        kept = _first_new(page, known, left)
        left -= sum(row.key not in known for row in kept.rows)
        yield kept


def _first_new(page: Page, known: set[str], left: int) -> Page:
    """The page cut after its `left`-th row that is not stored yet."""
    for count, row in enumerate(page.rows):
        if row.key not in known:
            left -= 1
        if left == 0 and count + 1 < len(page.rows):
            rows = page.rows[: count + 1]
            return Page(rows, replace(page.position, upto=rows[-1].position, done=False))
    return page


def _compare_counts(ends: Ends, work: TableWork) -> None:
    """At a table's end the whole label is counted once."""
    label, name = work.table.label, work.table.name
    _, records = ends.patience.retry(lambda: ends.wire.find(label, {"byovBatch": {"$exists": True}}, limit=1))
    expected = ends.state.ledger.count_records(name)
    if records != expected:
        raise DifferencesFound(f"RushDB holds {records:,} records of {label} and {expected:,} were proved to be stored")


def _result(ends: Ends, work: TableWork, totals: Totals, stopwatch: Stopwatch, bytes_out: int) -> TableResult:
    name, state = work.table.name, ends.state
    plan = state.journal.plan(name)
    return TableResult(
        table=name,
        label=work.table.label,
        rows_planned=plan.rows if plan else 0,
        rows_stored=state.ledger.count_records(name),
        vectors_stored=sum(state.ledger.count_vectors(name, item) for item in work.properties),
        rejects=state.ledger.count_rejects(name),
        this_run=totals,
        seconds=stopwatch.elapsed,
        bytes_out=bytes_out,
        requests=ends.wire.requests_sent,
        busy=stopwatch.shares(),
        properties_sent=tuple(item.property_name for item in leaving(work.table)),
        columns_kept=tuple(staying(work.table)),
    )
