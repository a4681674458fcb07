"""All rows of every table to RushDB, resumable at any moment: the stored plan is worked through, range by range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from byov_migrate.config import Config, TableConfig
from byov_migrate.errors import DifferencesFound
from byov_migrate.jobs.apply import begin_apply, catch_up
from byov_migrate.jobs.documents import leaving, staying
from byov_migrate.jobs.linking import LinkResult, link_all
from byov_migrate.jobs.moving import Extent, Mover, move, mover, unstored
from byov_migrate.jobs.opening import Ends, opened
from byov_migrate.jobs.pipeline import Totals
from byov_migrate.jobs.ranges import page_rows_for, range_pages
from byov_migrate.jobs.stages import Stopwatch
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.sync import TableSync
from byov_migrate.jobs.table_work import Models, TableWork
from byov_migrate.records import Page
from byov_migrate.source import NoStrategy
from byov_migrate.state.scope import Difference
from byov_migrate.target import provision

RANGE_ROWS = 10_000


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
    vectors: Mapping[str, int] = field(default_factory=dict)  # of `vectors_stored`, by property


@dataclass(frozen=True, slots=True)
class BackfillResult:
    """One result a table, in the order of the configuration."""

    tables: tuple[TableResult, ...]
    links: tuple[LinkResult, ...] = ()
    changes: tuple[Difference, ...] = ()  # of the settings, that this run was the first to apply
    applied: tuple[TableSync, ...] = ()  # tables whose records lagged behind the settings, and what was done with them

    @property
    def exit_code(self) -> int:
        """3 when this run rejected rows that were not rejected before."""
        new = [table.this_run.rejected_new for table in self.tables] + [table.rejected_new for table in self.applied]
        return 3 if any(new) else 0


def backfill(
    config: Config,
    *,
    limit: int | None = None,
    tables: Sequence[str] = (),
    apply: bool = False,
    confirm_deletes: bool = False,
    surroundings: Surroundings | None = None,
) -> BackfillResult:
    """Bring every row of the chosen tables (all by default) into RushDB; stored rows are left alone.

    limit: stop, complete as far as it goes, once this many rows of each table are stored. apply: first write stored
    rows again as the settings say that were changed since; one that was killed goes on in any later run.
    confirm_deletes: then delete, however many rows the settings do not select any more. Raise the errors of
    `errors.py`; on Interrupted everything that was in flight is settled.
    """
    around = surroundings or Surroundings()
    config.chosen(tables)  # a wrong name is told before anything is opened
    with opened(config, "backfill", around) as ends:
        chosen, models = ends.config.chosen(tables), Models(ends.config, around.log)
        changes = begin_apply(ends, chosen, models) if apply else []
        applied = catch_up(ends, chosen, models, confirm_deletes=confirm_deletes)
        moved = tuple(_backfill_table(ends, table, models, limit) for table in chosen)
        result = BackfillResult(moved, link_all(ends), tuple(changes), applied)
        ends.finish(result.exit_code, {table.table: _summary(table) for table in result.tables})
    return result


def _summary(table: TableResult) -> dict[str, object]:
    """What the state keeps of a run."""
    numbers = {
        name: getattr(table, name)
        for name in ("rows_stored", "vectors_stored", "rejects", "bytes_out", "requests", "complete")
    }
    shares = {stage: round(share, 3) for stage, share in table.busy.items()}
    return {**numbers, **vars(table.this_run), "seconds": round(table.seconds, 3), "busy": shares}


def _backfill_table(ends: Ends, table: TableConfig, models: Models, limit: int | None) -> TableResult:
    chosen = mover(ends, table, models)
    _plan_once(ends, chosen.work)
    return _move(chosen, limit)


def _plan_once(ends: Ends, work: TableWork) -> None:
    """Store the plan and the snapshot before it: the first sync begins where the backfill began."""
    name = work.table.name
    if ends.state.journal.plan(name) is not None:
        return
    planned = work.reader.plan_ranges(RANGE_ROWS)
    ends.state.cursors.begin(name, asdict(planned.cursor))
    ends.state.journal.store_plan(name, planned.boundaries, rows=planned.rows, snapshot=planned.snapshot)
    ends.note("planned", table=name, rows=planned.rows, ranges=len(planned.ranges))
    if work.reader.shape.derived is not None:
        return  # distinct values have no changes but to come and to go
    found = work.reader.strategy(planned.cursor, planned.rows)
    if isinstance(found, NoStrategy):
        ends.note("no-sync", table=name, reason="; ".join(found.reasons), instead="byov-migrate sync --full")
    else:
        ends.note("sync-strategy", table=name, strategy=found.kind, guarantee=found.guarantee)


def _move(chosen: Mover, limit: int | None) -> TableResult:
    ends, work = chosen.ends, chosen.work
    name = work.table.name
    plan = ends.state.journal.plan(name)
    rows = plan.rows if plan else 0
    sent_before = ends.wire.bytes_sent
    left = None if limit is None else max(limit - ends.state.ledger.count_records(name), 0)
    total = rows if limit is None else min(limit, rows)
    pages = unstored(ends.state, name, _pages(ends, work, left))
    totals, stopwatch = move(chosen, pages, Extent(total, ends.state.ledger.count_records(name), rows))
    complete = limit is None or not _rest_of_plan(ends, name)
    if complete:
        _compare_counts(ends, work)
    result = _result(ends, work, totals, stopwatch, ends.wire.bytes_sent - sent_before)
    return replace(result, complete=complete, rows_in_source=work.reader.count() if complete else None)


def _rest_of_plan(ends: Ends, name: str) -> bool:
    plan = ends.state.journal.plan(name)
    return plan is not None and plan.ranges_done < plan.ranges


def _pages(ends: Ends, work: TableWork, left: int | None) -> Iterator[Page]:
    """The pages of every open range, in key order, at most `left` rows of them that are not stored yet."""
    page_rows = page_rows_for(embeds=work.embeds)
    ranges = ends.state.journal.open_ranges(work.table.name)
    pages = (page for key_range in ranges for page in range_pages(work.reader, key_range, page_rows, ends.patience))
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
    position = page.position
    for count, row in enumerate(page.rows):
        if row.key not in known:
            left -= 1
        if left == 0 and count + 1 < len(page.rows):
            rows = page.rows[: count + 1]
            return Page(rows, position and replace(position, upto=rows[-1].position, done=False))
    return page


def _compare_counts(ends: Ends, work: TableWork) -> None:
    """At a table's end the whole label is counted once."""
    label, name = work.table.label, work.table.name
    _, records = ends.patience.retry(lambda: ends.wire.find(label, provision.OURS, limit=1))
    expected = ends.state.ledger.count_records(name)
    if records != expected:
        raise DifferencesFound(f"RushDB holds {records:,} records of {label} and {expected:,} were proved to be stored")


def _result(ends: Ends, work: TableWork, totals: Totals, stopwatch: Stopwatch, bytes_out: int) -> TableResult:
    name, state = work.table.name, ends.state
    plan = state.journal.plan(name)
    vectors = {item: state.ledger.count_vectors(name, item) for item in work.properties}
    return TableResult(
        table=name,
        label=work.table.label,
        rows_planned=plan.rows if plan else 0,
        rows_stored=state.ledger.count_records(name),
        vectors_stored=sum(vectors.values()),
        rejects=state.ledger.count_rejects(name),
        this_run=totals,
        seconds=stopwatch.elapsed,
        bytes_out=bytes_out,
        requests=ends.wire.requests_sent,
        busy=stopwatch.shares(),
        properties_sent=tuple(item.property_name for item in leaving(work.table, work.composer.links)),
        columns_kept=tuple(staying(work.table)),
        vectors=vectors,
    )
