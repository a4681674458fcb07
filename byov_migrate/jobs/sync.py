"""What changed and what was deleted since the last sync, at the cost of the change. For cron.

    survey (one snapshot)  ──►  rows by key  ──►  write planner  ──►  pipeline  ──►  removal  ──►  cursor moves
    keys changed, keys gone                       unchanged: dropped

The cursor moves only when everything before it is settled; a run that is killed is simply run again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast, get_args

from byov_migrate.config import Config, Entry
from byov_migrate.errors import ConfigurationError
from byov_migrate.jobs.changes import Findings, Surveyor
from byov_migrate.jobs.linking import LinkResult, link_all
from byov_migrate.jobs.moving import Extent, Mover, move, prepare, settled
from byov_migrate.jobs.opening import Ends, opened
from byov_migrate.jobs.pipeline import Totals
from byov_migrate.jobs.ranges import again_and_again
from byov_migrate.jobs.removal import remove, require_consent
from byov_migrate.jobs.rewriting import require_affordable
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
from byov_migrate.jobs.table_work import Accepted, Models, TableWork
from byov_migrate.jobs.write_planner import Tally, WritePlanner
from byov_migrate.records import KeyText, Page
from byov_migrate.source import Strategy


@dataclass(frozen=True, slots=True)
class Asked:
    """What a sync was asked for. accept: what a person says is meant."""

    full: bool = False
    confirm_deletes: bool = False
    accept: Accepted | None = None
    stored_only: bool = False  # rows that have no record are left to the backfill
    command: str = "sync"


def _asked_for(*, full: bool, confirm_deletes: bool, accept: str | None) -> Asked:
    """Raise ConfigurationError for what does not go together."""
    if accept not in (None, *get_args(Accepted)):
        raise ConfigurationError(f'--accept {accept}: "source", "target" or "index" can be accepted')
    if accept and not full:
        raise ConfigurationError("--accept is for sync --full: every row has to be compared")
    return Asked(full, confirm_deletes, cast("Accepted | None", accept))


@dataclass(frozen=True, slots=True)
class TableSync:
    """What a sync did with one table. `swept_at`: when deletes were last looked for, seconds since 1970."""

    table: str
    label: str
    strategy: str
    guarantee: str
    unchanged: int
    created: int
    updated: int
    deleted: int
    rejects: int  # not accepted, whatever run met them
    rejected_new: int
    texts: int  # embedded
    texts_again: int  # of them: unchanged, embedded because their records had to be rewritten
    seconds: float
    swept_at: float | None

    @property
    def changes(self) -> int:
        """Records that were written or deleted, and new rejects."""
        return self.created + self.updated + self.deleted + self.rejected_new


@dataclass(frozen=True, slots=True)
class SyncResult:
    """One result a table, in the order of the configuration."""

    tables: tuple[TableSync, ...]
    links: tuple[LinkResult, ...] = ()

    @property
    def exit_code(self) -> int:
        """3 when this run rejected rows that were not rejected before."""
        return 3 if any(table.rejected_new for table in self.tables) else 0


def sync(
    config: Config,
    *,
    full: bool = False,
    confirm_deletes: bool = False,
    accept: str | None = None,
    tables: Sequence[str] = (),
    models: Models | None = None,
    surroundings: Surroundings | None = None,
) -> SyncResult:
    """Bring RushDB up to the source's state of now.

    full: read and compare every row, and look for deletes. confirm_deletes: delete, however many rows are gone.
    accept: with full, "source" after the database was moved, failed over or altered, "target" after the project was
    moved, "index" after an index was deleted in RushDB. models: to be kept loaded from one sync to the next.

    Raise Refused before the backfill is complete or when the source is another one, ConsentNeeded at a ceiling,
    ConfigurationError when changes cannot be seen; nothing is lost then, and what was written stays.
    """
    around = surroundings or Surroundings()
    wanted = _asked_for(full=full, confirm_deletes=confirm_deletes, accept=accept)
    config.chosen(tables)  # a wrong name is told before anything is opened
    with opened(config, "sync", around) as ends:
        result = sync_tables(ends, ends.config.chosen(tables), models or Models(ends.config, around.log), wanted)
        ends.finish(result.exit_code, {table.table: dataclasses.asdict(table) for table in result.tables})
    return result


def sync_tables(ends: Ends, entries: Sequence[Entry], models: Models, asked: Asked) -> SyncResult:
    """Sync these tables one after the other, then their links. Raise as `sync`."""
    done: list[TableSync] = []
    for table in entries:
        done.append(sync_table(ends, table, models, asked, stirred=_is_stirred(table, done)))
    return SyncResult(tuple(done), link_all(ends, told=False))


def _is_stirred(entry: Entry, done: Sequence[TableSync]) -> bool:
    """Whether distinct values may have come or gone: the table they are read from has changed, or nobody looked."""
    if entry.distinct is None:
        return False
    owners = [table for table in done if table.table == entry.owner]
    return not owners or any(table.changes for table in owners)


def sync_table(ends: Ends, table: Entry, models: Models, asked: Asked, *, stirred: bool) -> TableSync:
    """Sync one table; every row is compared where that is asked for, or where changed settings lag behind.

    Raise as `sync`.
    """
    began = ends.around.monotonic()
    work = prepare(ends, table, models, lazily=True, accept=asked.accept)
    since = where_it_begins(ends.state, table.name)
    require_as_new(ends.session, since, ends.patience, accepted=asked.accept == "source")
    if _has_hidden_unsettled(ends, work) or ends.state.scope.applying(table.name):
        asked = dataclasses.replace(asked, full=True)
    strategy = None if asked.full else choose_strategy(work.reader, since, rows_of(ends.state, table.name))
    guarantee = guarantee_of(strategy, work.reader)
    ends.around.log("sync", table=table.name, strategy=strategy.kind if strategy else "full", guarantee=guarantee)
    if strategy is not None and strategy.warning:
        ends.around.log("sync-slow", table=table.name, because=strategy.warning)
    sweep = stirred or asked.full or is_sweep_due(since, table.sweep_every, ends.around.clock())
    with Surveyor(work.reader, ends.state, ends.patience).survey(
        since, strategy, sweep=sweep, follows=asked.accept != "source"
    ) as findings:
        if table.unused == "keep" and table.distinct is not None:
            findings.gone.clear()
        done = carry_out(ends, work, findings, asked)
        ends.state.cursors.move(table.name, dataclasses.asdict(findings.cursor), findings.sweep)
        ends.state.scope.end_apply(table.name)
    return result_of(ends, work, done, strategy, ends.around.monotonic() - began)


def _has_hidden_unsettled(ends: Ends, work: TableWork) -> bool:
    """Whether a row has to be read again that cannot be found by its key, since only a hash of it is known."""
    return work.table.hash_key_values and bool(ends.state.ledger.unsettled(work.table.name))


@dataclass(frozen=True)
class Done:
    """What was written, and what was deleted."""

    tally: Tally
    totals: Totals
    deleted: int


def carry_out(ends: Ends, work: TableWork, findings: Findings, asked: Asked) -> Done:
    """Write what changed, then delete what is gone."""
    name = work.table.name
    if findings.is_empty and not asked.full and not ends.state.journal.intents(name):
        return Done(Tally(), Totals(), 0)
    chosen = settled(ends, work)
    before, known = ends.state.ledger.count_records(name), findings.changed.known(name)
    if findings.gone or asked.full or known < findings.changed.count():
        ends.state.cursors.distrust(name)
    pages = partial(pages_to_compare, work, findings, ends.patience, full=asked.full)
    if asked.stored_only:
        pages = partial(_stored, ends, name, pages)
    tally, totals = _write(chosen, pages, before if asked.full else known)
    if findings.gone and not asked.confirm_deletes:
        left = findings.sweep.rows if findings.sweep else None
        require_consent(len(findings.gone), before, left, work.table.delete_ceiling, command=asked.command)
    return Done(tally, totals, remove(chosen, findings.gone))


def _stored(ends: Ends, name: str, pages: Callable[[], Iterator[Page]]) -> Iterator[Page]:
    """Pages of the rows that have a record."""
    for page in pages():
        known = ends.state.ledger.known_keys(name, [row.key for row in page.rows])
        yield Page(tuple(row for row in page.rows if row.key in known), page.position)


def _write(chosen: Mover, pages: Callable[[], Iterator[Page]], known: int) -> tuple[Tally, Totals]:
    """Write the rows of these pages that differ from what is stored. known: how many of them have a record."""
    ends, work = chosen.ends, chosen.work
    require_affordable(chosen, pages, known)
    planner = WritePlanner(work, ends.state, chosen.delivery.fetch, chosen.unique)
    extent = Extent(known, 0, rows_of(ends.state, work.table.name))
    totals, _stopwatch = move(chosen, planner.pages(pages()), extent)
    ends.state.journal.forget_rejects(work.table.name, planner.mended)
    return planner.tally, totals


def result_of(ends: Ends, work: TableWork, done: Done, strategy: Strategy | None, seconds: float) -> TableSync:
    """What there is to say of one table."""
    name = work.table.name
    now = ends.state.cursors.of(name)
    return TableSync(
        table=name,
        label=work.table.label,
        strategy=_kind_of(strategy, work),
        guarantee=guarantee_of(strategy, work.reader),
        unchanged=done.tally.unchanged,
        created=done.totals.rows - done.totals.updated,
        updated=done.totals.updated,
        deleted=done.deleted,
        rejects=ends.state.ledger.count_rejects(name),
        rejected_new=done.totals.rejected_new,
        texts=done.totals.texts,
        texts_again=done.tally.texts_again,
        seconds=seconds,
        swept_at=now.swept_at if now else None,
    )


def _kind_of(strategy: Strategy | None, work: TableWork) -> str:
    if strategy is not None:
        return strategy.kind
    return "full" if work.reader.shape.derived is None else "values"


def sync_keys(
    config: Config,
    keys: Sequence[str],
    *,
    tables: Sequence[str] = (),
    surroundings: Surroundings | None = None,
) -> SyncResult:
    """Bring single records up to their rows, or delete them when their rows are gone; the next sync begins as before.

    tables: the one table, needed when the configuration has several. Raise ConfigurationError for what is no key.
    """
    around = surroundings or Surroundings()
    entries = [config.table(name) for name in tables or [table.name for table in config.tables]]
    if len(entries) > 1:
        raise ConfigurationError("--key is for one table, and there are several; name it with --table")
    with opened(config, "sync --key", around) as ends:
        began = around.monotonic()
        entry = ends.config.table(entries[0].name)
        work = prepare(ends, entry, Models(ends.config, around.log), lazily=True)
        chosen = settled(ends, work)
        positions = [_position(work, key) for key in keys]
        rows = again_and_again(lambda: work.reader.rows(positions), ends.patience)
        present = {row.key for row in rows}
        wanted = [work.reader.rows_reader.key(position) for position in positions]
        gone = sorted(ends.state.ledger.known_keys(entry.name, [key for key in wanted if key not in present]))
        ends.state.cursors.distrust(entry.name)
        tally, totals = _write(chosen, lambda: iter([Page(tuple(rows), None)]), len(rows))
        done = Done(tally, totals, remove(chosen, gone))
        result = SyncResult(
            (result_of(ends, work, done, None, around.monotonic() - began),), link_all(ends, told=False)
        )
        ends.finish(result.exit_code, {entry.name: dataclasses.asdict(result.tables[0])})
    return result


def _position(work: TableWork, key: str) -> KeyText:
    position = work.reader.position_of(key)
    if position is None:
        names = ", ".join(column.name for column in work.reader.shape.key)
        raise ConfigurationError(f"--key {key!r} is no key of {work.table.name} ({names})")
    return position
