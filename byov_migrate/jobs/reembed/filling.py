"""Vectors of another model under the spare property, for records that stay as they are.

    index on the spare property  ──►  state and scope, at once  ──►  rows against their records: a vector each
                                                                └──►  a sync now and then: both kinds stay current

While it goes on searches use the live vectors. A run that is killed is simply run again: what has its vector is left.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from byov_migrate.config import Config
from byov_migrate.errors import ConfigurationError, Refused
from byov_migrate.jobs.carriers import as_carried
from byov_migrate.jobs.moving import Extent, move, prepare, settled
from byov_migrate.jobs.opening import Ends, opened
from byov_migrate.jobs.pipeline import Totals
from byov_migrate.jobs.ranges import PAGE_ROWS_EMBEDDED, range_pages
from byov_migrate.jobs.reembed.beginning import begin, require_possible
from byov_migrate.jobs.reembed.choosing import Meant, recalled_carriers, to_embed
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.sync import Asked, SyncResult, sync_tables
from byov_migrate.jobs.sync_start import rows_of
from byov_migrate.jobs.table_work import Models, TableWork
from byov_migrate.jobs.write_planner import WritePlanner
from byov_migrate.records import KeyRange, KeyText, Page, Row
from byov_migrate.state.carriers import live_one
from byov_migrate.state.scope import REEMBED

SYNC_EVERY_S = 300.0
"""The run lock is held for as long as embedding takes, so that no other sync can come in."""


@dataclass(frozen=True, slots=True)
class TableReembed:
    """One embedding. vectors: under `carrier` now; live_vectors: under `live`, which searches use.

    synced: records that the syncs in between wrote; not_synced: why there was none. refused: texts that the new
    model does not take, so that their records have no vector by it. rejects: of the table, not accepted.
    """

    table: str
    label: str
    embedding: str
    live: str
    live_model: str
    live_vectors: int
    carrier: str
    model: str
    vectors: int
    refused: int
    rejects: int
    rejected_new: int
    texts: int
    tokens: int
    synced: int
    not_synced: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class ReembedResult:
    """One result an embedding, in the order of the configuration."""

    embeddings: tuple[TableReembed, ...]

    @property
    def exit_code(self) -> int:
        """3 when this run rejected rows that were not rejected before."""
        return 3 if any(item.rejected_new for item in self.embeddings) else 0


def reembed(
    config: Config,
    *,
    model: str | None = None,
    table: str | None = None,
    embedding: str | None = None,
    surroundings: Surroundings | None = None,
) -> ReembedResult:
    """Fill a second set of vectors beside the one that searches use, and keep both current.

    model: the name of a model in the configuration; by default every embedding whose settings were edited. table: name
    or label, embedding: its property, where there are several.

    Raise ConfigurationError for names that are not known, Refused before the backfill is complete, when there is
    nothing to do or when another re-embedding is under way; as `sync` otherwise.
    """
    around = surroundings or Surroundings()
    with opened(config, "reembed", around) as before:
        wanted = to_embed(config, before.state, model, table, embedding)
        if not wanted:
            raise Refused("the stored vectors are those of the configuration; there is nothing to embed anew")
        for one, made in wanted:
            require_possible(before, one, made, recalled_carriers(config, before.state, one))
        for one, made in wanted:
            begin(before, one, made, recalled_carriers(config, before.state, one))
        ends = replace(before, config=as_carried(config, before.state.carriers))
        models = Models(ends.config, around.log)
        filled = tuple(_Filling(ends, models, one).result() for one, _ in wanted)
        result = ReembedResult(filled)
        ends.finish(result.exit_code, {item.table: dataclasses.asdict(item) for item in filled})
    return result


class _Filling:
    """Fills one carrier."""

    def __init__(self, ends: Ends, models: Models, one: Meant) -> None:
        self._ends = ends
        self._models = models
        self._entry = ends.config.table(one.table.name)
        carriers = ends.state.carriers.of(*one.names)
        self._live, self._new = live_one(carriers), next(item for item in carriers if not item.live)
        self._at: KeyText | None = None
        self._done = False
        self._totals = Totals()
        self._synced = 0
        self._not_synced: str | None = None

    def result(self) -> TableReembed:
        """Fill it to its end, with syncs in between and one at the end. Raise Interrupted after a stop."""
        ends, began = self._ends, self._ends.around.monotonic()
        self._sync()
        while not self._done:
            self._fill_for_a_while()
            self._sync()
        self._require_all_there()
        ends.state.carriers.complete(self._entry.name, self._new.property_name)
        name, ledger = self._entry.name, ends.state.ledger
        return TableReembed(
            table=name,
            label=self._entry.label,
            embedding=self._new.embedding,
            live=self._live.property_name,
            live_model=self._live.making.name,
            live_vectors=ledger.count_vectors(name, self._live.property_name),
            carrier=self._new.property_name,
            model=self._new.making.name,
            vectors=ledger.count_vectors(name, self._new.property_name),
            refused=self._totals.refused,
            rejects=ledger.count_rejects(name),
            rejected_new=self._totals.rejected_new,
            texts=self._totals.texts,
            tokens=self._totals.tokens,
            synced=self._synced,
            not_synced=self._not_synced,
            seconds=ends.around.monotonic() - began,
        )

    def _require_all_there(self) -> None:
        """Raise Refused when somebody has taken vectors away that were proved: nobody is to be switched to those."""
        ends, name, place = self._ends, self._entry.name, (self._entry.label, self._new.property_name)
        here = [one for one in ends.patience.retry(ends.wire.indexes) if (one.label, one.property_name) == place]
        held = sum(ends.patience.retry(partial(ends.wire.count_vectors, index)) for index in here)
        known = ends.state.ledger.count_vectors(name, self._new.property_name)
        if held < known:
            raise Refused(
                f"of {known:,} vectors that were stored under {'.'.join(place)} RushDB holds {held:,}; was its index"
                " deleted?",
                next_step=f"byov-migrate reembed drop --yes {self._new.property_name}, then {REEMBED}",
            )

    def _sync(self) -> None:
        """Bring all tables up to date, as cron would; where changes cannot be told from the rest nobody does."""
        try:
            done: SyncResult = sync_tables(self._ends, self._ends.config.entries, self._models, Asked())
        except ConfigurationError as error:
            self._not_synced = str(error)
            self._ends.note("not-synced", because=self._not_synced)
            return
        self._synced += sum(table.changes for table in done.tables)
        self._totals.rejected_new += sum(table.rejected_new for table in done.tables)

    def _fill_for_a_while(self) -> None:
        ends = self._ends
        work = prepare(ends, self._entry, self._models, lazily=True)
        chosen = settled(ends, work)
        planner = WritePlanner(work, ends.state, chosen.delivery.fetch, chosen.unique, vectors_only=True)
        name, new = self._entry.name, self._new.property_name
        rows = ends.state.ledger.count_vectors(name, self._live.property_name)
        extent = Extent(rows, ends.state.ledger.count_vectors(name, new), rows_of(ends.state, name))
        totals, _ = move(chosen, planner.pages(self._some(work)), extent)
        self._totals.texts += totals.texts
        self._totals.tokens += totals.tokens
        self._totals.refused += totals.refused
        self._totals.rejected_new += totals.rejected_new

    def _some(self, work: TableWork) -> Iterator[Page]:
        """Rows from where the last part ended, until it is time for a sync."""
        ends = self._ends
        until = ends.around.monotonic() + SYNC_EVERY_S
        rest = KeyRange(0, None, None, self._at)
        for page in range_pages(work.reader, rest, PAGE_ROWS_EMBEDDED, ends.patience):
            yield Page(tuple(row for row in page.rows if isinstance(row, Row)), None)  # a sync has seen the rejected
            self._at = page.position.upto if page.position else self._at
            if page.position is not None and page.position.done:
                self._done = True
            if ends.around.monotonic() > until:
                return
