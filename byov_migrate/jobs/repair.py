"""Mends what `verify` found. The report only says where to look: both sides are read again, under the run lock.

keys of the report  ──►  rows and records of now  ──►  ledger pointed at one record a key, nothing known of it
                                                  ──►  copies and records without a row deleted
                                                  ──►  the rest is a sync of these keys
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from byov_migrate.config import Config, TableConfig
from byov_migrate.errors import ConfigurationError, ConsentNeeded, Interrupted, Refused
from byov_migrate.jobs import table_work
from byov_migrate.jobs.linking import LinkResult, calling, link_all, linker_for, place_of
from byov_migrate.jobs.moving import Extent, ceiling, move, prepare, settled
from byov_migrate.jobs.opening import Ends, opened
from byov_migrate.jobs.pipeline import Totals
from byov_migrate.jobs.ranges import again_and_again, whole_table
from byov_migrate.jobs.recovery import settle_intents
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.sync_start import rows_of
from byov_migrate.jobs.table_work import Models, TableWork
from byov_migrate.jobs.verify.results import keys_to_relink, read_report, reported_keys
from byov_migrate.jobs.verify.words import runs, shows
from byov_migrate.jobs.write_planner import WritePlanner
from byov_migrate.records import Page, Rejected, Row
from byov_migrate.target import provision
from byov_migrate.target.delivery import Delivery
from byov_migrate.target.wire import Stored

LAST = "last"
KEYS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class TableRepair:
    """What a repair did with one table. left: records that nobody proved to be ours, and that have no row."""

    table: str
    label: str
    keys: int
    created: int
    updated: int
    deleted: int
    left: int
    rejected: int
    rejected_new: int


@dataclass(frozen=True, slots=True)
class RepairResult:
    """One result a table of the report."""

    tables: tuple[TableRepair, ...]
    links: tuple[LinkResult, ...] = ()

    @property
    def exit_code(self) -> int:
        """3 when rows were rejected that were not rejected before."""
        return 3 if any(table.rejected_new for table in self.tables) else 0


def repair(
    config: Config, report: str = LAST, *, confirm_deletes: bool = False, surroundings: Surroundings | None = None
) -> RepairResult:
    """Mend the differences of a report: "last", or the file that `verify --out` wrote.

    Raise ConfigurationError when there is no such report, Refused when it is of another state, ConsentNeeded before
    more is deleted than the ceiling allows: nothing is changed then.
    """
    around = surroundings or Surroundings()
    given = None if report == LAST else read_report(Path(report))
    with opened(config, "repair", around) as ends:
        models = Models(ends.config, around.log)
        found = _report_of(ends, given)
        relink = keys_to_relink(found)
        tables = [
            _mend_table(ends, ends.config.table(name), keys, models, relink[name], confirm_deletes=confirm_deletes)
            for name, keys in reported_keys(found).items()
            if keys
        ]
        result = RepairResult(tuple(tables), link_all(ends) if tables else ())
        ends.finish(result.exit_code, {table.table: dataclasses.asdict(table) for table in tables})
    return result


def _report_of(ends: Ends, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    report = ends.state.reports.last("verify") if given is None else given
    if report is None:
        raise ConfigurationError("there is no report to repair from", next_step="byov-migrate verify")
    if report.get("state") != ends.state.runs.state_id:
        raise Refused("the report is of another state; nothing written", next_step="byov-migrate verify")
    return report


@dataclass
class _Plan:
    """What is to be done, found by looking. point: key -> the one record that is to be the key's.

    forget: keys whose records are gone from RushDB, to be made anew. delete: records without a row, and second copies.
    """

    rows: list[Row | Rejected] = field(default_factory=list)
    point: dict[str, str] = field(default_factory=dict)
    forget: list[str] = field(default_factory=list)
    delete: dict[str, str] = field(default_factory=dict)  # record id -> key
    gone: list[str] = field(default_factory=list)  # keys of records without a row, known to the ledger
    left: int = 0


def _mend_table(
    ends: Ends,
    table: TableConfig,
    keys: Sequence[str],
    models: Models,
    relink: Sequence[str],
    *,
    confirm_deletes: bool,
) -> TableRepair:
    work = prepare(ends, table, models, lazily=True, accept="index")
    delivery = table_work.delivery_for(ends.config, ends.wire, ends.server, work, ends.patience, ends.around)
    _settle_earlier_runs(ends, work, delivery)
    plan = _look(ends, work, delivery, sorted(set(keys) - set(relink)))
    if not confirm_deletes:
        _require_consent(ends, table, len(plan.delete))
    _unlink(ends, table, keys)
    _clear(ends, table.name, delivery, plan)
    totals = _write(ends, work, plan.rows)
    return TableRepair(
        table=table.name,
        label=table.label,
        keys=len(keys),
        created=totals.rows - totals.updated,
        updated=totals.updated,
        deleted=len(plan.delete),
        left=plan.left,
        rejected=totals.rejected,
        rejected_new=totals.rejected_new,
    )


def _unlink(ends: Ends, table: TableConfig, keys: Sequence[str]) -> None:
    """Remove every link of ours that leads from these records; what is implied is made again at the end."""
    links = [link for link in ends.links if link.source.entry.label == table.label]
    ids = list(ends.state.ledger.record_ids(table.name, keys).values())
    if not links or not ids:
        return
    ends.state.links.loosen(table.name, keys)
    linker = linker_for(ends)
    with calling(ends, linker):
        for link in links:
            linker.part(place_of(link), ids)


def _settle_earlier_runs(ends: Ends, work: TableWork, delivery: Delivery) -> None:
    """A batch that may still arrive must not be taken for copies."""
    settle_intents(
        work.table.name,
        work.properties,
        ends.state,
        delivery,
        ends.patience,
        request_budget_s=provision.request_budget_s(ends.config.target, ends.server),
        surroundings=ends.around,
    )


def _look(ends: Ends, work: TableWork, delivery: Delivery, keys: Sequence[str]) -> _Plan:
    """Read rows and records of these keys."""
    plan = _Plan(rows=_rows(ends, work, keys))
    present = {row.key for row in plan.rows}
    for start in range(0, len(keys), KEYS_AT_ONCE):
        some = keys[start : start + KEYS_AT_ONCE]
        records = _records(ends, work, some)
        known = ends.state.ledger.record_ids(work.table.name, some)
        there = delivery.fetch(list(known.values()))  # also those whose key was altered
        for key in some:
            of_key = {record.record_id: record for record in records.get(key, ())}
            if (record := there.get(known.get(key, ""))) is not None:
                of_key = {record.record_id: record, **of_key}
            _decide(plan, key, of_key, known.get(key), has_row=key in present)
    _spare_the_known(ends, work, plan)
    return plan


def _decide(plan: _Plan, key: str, records: Mapping[str, Stored], known: str | None, *, has_row: bool) -> None:
    """One key's records: one is kept when there is a row, the ledger's if it is there."""
    kept = next(iter(records), None) if has_row else None
    if kept is not None:
        plan.point[key] = kept
    elif known is not None:
        (plan.forget if has_row else plan.gone).append(key)
    for record_id, record in records.items():
        if record_id == kept:
            continue
        if record_id == known or "byovBatch" in record.properties:
            plan.delete[record_id] = key
        else:
            plan.left += 1


def _spare_the_known(ends: Ends, work: TableWork, plan: _Plan) -> None:
    """A record whose key was altered is another key's by the ledger: that key's repair gives it back."""
    holders = ends.state.ledger.holders(work.table.name, list(plan.delete))
    for record_id, holder in holders.items():
        if holder != plan.delete[record_id]:
            del plan.delete[record_id]


def _rows(ends: Ends, work: TableWork, keys: Sequence[str]) -> list[Row | Rejected]:
    """The rows of these keys that are there. Hashed keys cannot be looked up: all rows are read for them."""
    reader = work.reader
    if work.table.hash_key_values:
        wanted = set(keys)
        pages = whole_table(reader, KEYS_AT_ONCE, ends.patience)
        return [row for page in pages for row in page.rows if row.key in wanted]
    positions = [position for key in keys if (position := reader.position_of(key)) is not None]
    rows: list[Row | Rejected] = []
    for start in range(0, len(positions), KEYS_AT_ONCE):
        rows += again_and_again(partial(reader.rows, positions[start : start + KEYS_AT_ONCE]), ends.patience)
    return rows


def _records(ends: Ends, work: TableWork, keys: Sequence[str]) -> dict[str, list[Stored]]:
    found: dict[str, list[Stored]] = {}
    for record in _found(ends, work.table.label, {"byovKey": {"$in": list(keys)}}):
        found.setdefault(record.key, []).append(record)
    return found


def _found(ends: Ends, label: str, where: Mapping[str, Any]) -> Iterator[Stored]:
    skip = 0
    while True:
        page, total = ends.patience.retry(partial(ends.wire.find, label, where, limit=KEYS_AT_ONCE, skip=skip))
        yield from page
        skip += len(page)
        if not page or skip >= total:
            return


def _require_consent(ends: Ends, table: TableConfig, deletes: int) -> None:
    most = ceiling(table.delete_ceiling, ends.state.ledger.count_records(table.name))
    if deletes > most:
        raise ConsentNeeded(
            f"{deletes:,} records of {table.label} are to be deleted, more than the ceiling of {most:,}; nothing done",
            next_step="if meant: byov-migrate sync --repair last --confirm-deletes",
        )


def _clear(ends: Ends, name: str, delivery: Delivery, plan: _Plan) -> None:
    """Leave one record a key that has a row, of which nothing is known, and none of other keys."""
    journal = ends.state.journal
    ends.state.cursors.distrust(name)
    ends.state.journal.point(name, plan.point)
    journal.begin_removal(name, [*plan.gone, *plan.forget])
    ids = list(plan.delete)
    for start in range(0, len(ids), KEYS_AT_ONCE):
        if ends.around.stop.is_set():
            raise Interrupted
        delivery.discard(ids[start : start + KEYS_AT_ONCE])
    journal.end_removal(name, [*plan.gone, *plan.forget])


def _write(ends: Ends, work: TableWork, rows: Collection[Row | Rejected]) -> Totals:
    """Write these rows as a sync would. Whatever else does not fit the ledger is refused here, as in every run."""
    chosen = settled(ends, work)
    planner = WritePlanner(work, ends.state, chosen.delivery.fetch, chosen.unique)
    pages = _pages(list(rows))
    extent = Extent(len(rows), 0, max(rows_of(ends.state, work.table.name), 20 * len(rows)))
    planned = (_without_withheld(ends, work, page) for page in planner.pages(pages))
    totals, _ = move(chosen, planned, extent)
    ends.state.journal.forget_rejects(work.table.name, planner.mended)
    return totals


def _without_withheld(ends: Ends, work: TableWork, page: Page) -> Page:
    """What an application had added stays, unless withheld text stands in it."""
    keeping = [row.position for row in page.rows if isinstance(row, Row) and row.known and row.known.kept]
    if not keeping:
        return page
    texts = again_and_again(partial(work.reader.texts, keeping), ends.patience)
    return dataclasses.replace(page, rows=tuple(_cleaned(work.table, row, texts.get(row.key, ())) for row in page.rows))


def _cleaned(table: TableConfig, row: Row | Rejected, texts: Sequence[str | None]) -> Row | Rejected:
    if not isinstance(row, Row) or row.known is None or not row.known.kept:
        return row
    pairs = zip(table.embeddings, texts, strict=False)
    withheld = {run for embedding, text in pairs if text and not embedding.send_text for run in runs(text)}
    kept = {name: value for name, value in row.known.kept.items() if not shows(withheld, value)}
    return dataclasses.replace(row, known=dataclasses.replace(row.known, kept=kept))


def _pages(rows: Sequence[Row | Rejected]) -> Iterator[Page]:
    for start in range(0, len(rows), KEYS_AT_ONCE):
        yield Page(tuple(rows[start : start + KEYS_AT_ONCE]), None)
