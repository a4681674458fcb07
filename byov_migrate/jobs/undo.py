"""A migration taken back: the target holds nothing of ours, and the state has forgotten it.

    marker ours?  ──►  counts  ──►  consent, a label each  ──►  unsettled batches withdrawn  ──►  records, by id
                                                           ──►  indexes without a vector  ──►  marker  ──►  state

Nothing is deleted but what the ledger names. The order makes a kill harmless: while a record is left the marker
stands, and while the marker stands the state knows the table. PostgreSQL is not asked: it may be gone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from byov_migrate.config import Config, Entry, spare_of
from byov_migrate.errors import ConfigurationError, ConsentNeeded, DifferencesFound, Refused
from byov_migrate.jobs.opening import TargetSide, opened_target
from byov_migrate.jobs.recovery import withdraw_intents
from byov_migrate.jobs.removal import RECORDS_AT_ONCE, remove_known
from byov_migrate.jobs.surroundings import Progress, Surroundings
from byov_migrate.jobs.verify.job import scratch_path
from byov_migrate.state.comparison import remove_scratch
from byov_migrate.state.forgetting import Forgetting, embedded_properties, label_of
from byov_migrate.target import provision
from byov_migrate.target.asking import Asker
from byov_migrate.target.looking import Lookout
from byov_migrate.target.pace import Pace
from byov_migrate.target.wire import Index, Where

COMMAND = "remove"
ALL: Where = {}
OF_BYOV: Where = {
    "$and": [{"byovKey": {"$exists": True}}, {"byovKey": {"$ne": provision.UNIQUENESS_KEY}}],
}
"""Records that this program wrote, for whatever state; a label's marker has a label of its own."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What there is, before anything is deleted.

    known: records in the ledger. unsettled: batches that an earlier run sent and never proved. others: records of the
    label without `byovKey`. strange: records with `byovKey` that the ledger cannot account for; more of them, if
    somebody deleted known ones. marker: whether the label is claimed by this state.
    """

    table: str
    label: str
    known: int
    unsettled: int
    others: int
    strange: int
    marker: bool

    @property
    def is_nothing(self) -> bool:
        """Whether nothing of this state is left in the target."""
        return not (self.known or self.unsettled or self.marker)


@dataclass(frozen=True, slots=True)
class KeptIndex:
    """An index that stays. vectors: of records that are not ours; several: it is one of those on its property."""

    property_name: str
    vectors: int
    several: bool = False


@dataclass(frozen=True, slots=True)
class TableUndone:
    """What the target holds now, as it says itself.

    ours: always 0. others: records of the label without `byovKey`, untouched. strange: records with `byovKey` that this
    state does not know, untouched. deleted: in this run.
    """

    table: str
    label: str
    ours: int
    others: int
    strange: int
    deleted: int
    indexes_deleted: tuple[str, ...]
    indexes_kept: tuple[KeptIndex, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class UndoResult:
    """One result a table, in the order of the configuration."""

    tables: tuple[TableUndone, ...]


Ask = Callable[[Extent], str | None]
"""Shows the counts and returns what a person typed; None when there is nobody to ask."""


def _nobody(_extent: Extent) -> None:
    return None


def undo(
    config: Config,
    *,
    tables: Sequence[str] = (),
    agreed: Sequence[str] = (),
    ask: Ask = _nobody,
    surroundings: Surroundings | None = None,
) -> UndoResult:
    """Take the migration of these tables back, all by default. Run again after any end, it goes on.

    agreed: labels that were consented to. ask: for the others. Raise ConsentNeeded when nobody answers,
    ConfigurationError for a wrong label, Refused when a label's marker names another state: nothing is deleted then.
    """
    around = surroundings or Surroundings()
    chosen = _chosen(config, tables)
    _require_labels(agreed, chosen)
    with opened_target(config, COMMAND, around) as ends:
        extents = [_look(ends, entry) for entry in chosen]
        require_consent(extents, agreed, ask, tables)
        result = UndoResult(tuple(_Undoing(ends, *one).carry_out() for one in zip(chosen, extents, strict=True)))
        ends.state.runs.end_run(0, {table.table: dataclasses.asdict(table) for table in result.tables})
    return result


def _chosen(config: Config, names: Sequence[str]) -> list[Entry]:
    """The entries of these names, with the nodes that are read from a table among them: nobody would own those."""
    named = [config.table(name).name for name in names]
    return [entry for entry in config.entries if not names or {entry.name, entry.owner} & set(named)]


def _require_labels(agreed: Iterable[str], chosen: Sequence[Entry]) -> None:
    labels = [entry.label for entry in chosen]
    for label in agreed:
        if label not in labels:
            raise ConfigurationError(f"--yes {label}: what would be removed is {', '.join(labels)}; nothing removed")


def _look(ends: TargetSide, entry: Entry) -> Extent:
    """Count, and see that the label is ours. Raise Refused otherwise."""
    state, name = ends.state, entry.name
    _require_same_label(state.scope.fields(), entry)
    known, unsettled = state.ledger.count_records(name), len(state.journal.intents(name))
    runs = state.runs
    marker = provision.has_marker(
        ends.wire, ends.patience, entry.label, state=runs.state_id, generation=runs.generation
    )
    if not marker and (known or unsettled):
        raise Refused(
            f"this state has written {known:,} records of {entry.label}, and the project behind the key holds no marker"
            " of it; nothing was removed. Use the key of the project that holds them"
        )
    of_byov = _count(ends, entry.label, OF_BYOV)
    others = _count(ends, entry.label, ALL) - of_byov - _count(ends, entry.label, provision.TRIAL)
    return Extent(name, entry.label, known, unsettled, max(others, 0), max(of_byov - known, 0), marker)


def _require_same_label(fields: Mapping[str, object], entry: Entry) -> None:
    known = label_of(fields, entry.name)
    if known not in (None, entry.label):
        raise Refused(
            f"this state has written {entry.name} as {known}, and the configuration says {entry.label}; nothing was"
            f' removed. Set label = "{known}" until it is removed'
        )


def _count(ends: TargetSide, label: str, where: Where) -> int:
    return ends.patience.retry(lambda: ends.wire.find(label, where, limit=1))[1]


def require_consent(extents: Sequence[Extent], agreed: Sequence[str], ask: Ask, tables: Sequence[str]) -> None:
    """See that each label with anything of ours was agreed to, or is typed now. tables: as they were named.

    Raise ConsentNeeded when nobody answers, ConfigurationError for another word than the label.
    """
    open_ones = [extent for extent in extents if not extent.is_nothing and extent.label not in agreed]
    for extent in open_ones:
        typed = ask(extent)
        if typed is None:
            raise _needs_consent(open_ones, [*agreed, *(one.label for one in open_ones)], tables)
        if typed != extent.label:
            raise ConfigurationError(f"what was typed is not {extent.label}; nothing removed")


def _needs_consent(extents: Sequence[Extent], labels: Sequence[str], tables: Sequence[str]) -> ConsentNeeded:
    counts = ", ".join(f"{extent.known:,} records of {extent.label}" for extent in extents)
    options = [f"--table {name}" for name in tables] + [f"--yes {label}" for label in labels]
    return ConsentNeeded(
        f"{counts} would be removed; nothing removed", next_step=f"if meant: byov-migrate {COMMAND} {' '.join(options)}"
    )


class _Undoing:
    """One table taken back."""

    def __init__(self, ends: TargetSide, entry: Entry, extent: Extent) -> None:
        self._ends = ends
        self._entry = entry
        self._extent = extent
        self._budget_s = provision.request_budget_s(ends.config.target, ends.server)
        self._asker = Asker(ends.patience, Pace(1), self._budget_s)
        self._lookout = Lookout(ends.wire, self._asker, entry.label)
        self._forgetting = Forgetting(ends.state.store)
        self._began = ends.around.monotonic()

    def carry_out(self) -> TableUndone:
        """Delete, look, forget. Without a marker the target was finished before; what is left is to forget."""
        name, label = self._entry.name, self._entry.label
        deleted = 0
        gone: list[str] = []
        kept: list[KeptIndex] = []
        if self._extent.marker:
            self._begin()
            deleted = self._remove_records()
            gone, kept = self._remove_indexes()
            provision.release_label(self._ends.wire, self._ends.patience, label, state=self._ends.state.runs.state_id)
        self._forgetting.finish(name)
        strange = _count(self._ends, label, OF_BYOV)
        others = _count(self._ends, label, ALL) - strange
        done = TableUndone(name, label, 0, others, strange, deleted, tuple(gone), tuple(kept), self._seconds)
        self._ends.note("undone", table=name, label=label, deleted=deleted, others=others, strange=strange)
        return done

    @property
    def _seconds(self) -> float:
        return self._ends.around.monotonic() - self._began

    def _begin(self) -> None:
        """From here on no sync fills the gaps, no older copy of the state writes, and nothing comes later."""
        ends, name, label = self._ends, self._entry.name, self._entry.label
        extent = self._extent
        ends.note("removing", table=name, records=extent.known, others=extent.others, strange=extent.strange)
        provision.raise_generation(ends.wire, ends.patience, label, ends.state.runs.generation)
        self._forgetting.begin(name)
        remove_scratch(scratch_path(ends.config.state_path))
        budget_s, around = self._budget_s, ends.around
        withdraw_intents(name, ends.state, self._lookout, ends.patience, request_budget_s=budget_s, surroundings=around)
        provision.remove_trials(ends.wire, ends.patience, label)

    def _remove_records(self) -> int:
        """Delete what the ledger knows, portion by portion; how many of them there were.

        Raise DifferencesFound when the target then holds more than it should: somebody writes at the same time.
        """
        label, state = self._entry.label, self._ends.state
        before, there = _count(self._ends, label, OF_BYOV), 0
        done, total = 0, state.ledger.count_records(self._entry.name)
        while keys := self._forgetting.some_keys(self._entry.name, RECORDS_AT_ONCE):
            there += self._lookout.count(list(state.ledger.record_ids(self._entry.name, keys).values()))
            done += remove_known(state, self._entry.name, self._lookout.discard, keys, self._ends.around.stop)
            self._ends.around.progress(self._progress(done, total))
        left = _count(self._ends, label, OF_BYOV) - (before - there)
        if left > 0:
            raise DifferencesFound(
                f"RushDB holds {left:,} records of {label} with byovKey that were not there before; is another run or"
                " another copy of the state at work? The marker stays",
                next_step=f"byov-migrate {COMMAND}",
            )
        return there

    def _progress(self, done: int, total: int) -> Progress:
        rate = done / max(self._seconds, 1e-9)
        return Progress(self._entry.name, self._entry.label, done, total, 0, rate, "deleting", 1.0)

    def _remove_indexes(self) -> tuple[list[str], list[KeptIndex]]:
        """Delete the indexes of our properties that hold no vector any more; which are gone, and which stay."""
        gone: list[str] = []
        kept: list[KeptIndex] = []
        for name, indexes in self._our_indexes().items():
            vectors = sum(self._vectors(index) for index in indexes)
            if vectors or len(indexes) > 1:
                kept.append(KeptIndex(name, vectors, several=len(indexes) > 1))
                continue
            self._delete(indexes[0])
            gone.append(name)
        return gone, kept

    def _delete(self, index: Index) -> None:
        self._asker.repeat(lambda: self._ends.wire.delete_index(index))

    def _vectors(self, index: Index) -> int:
        return self._asker.ask(lambda: self._ends.wire.count_vectors(index))

    def _our_indexes(self) -> dict[str, list[Index]]:
        """By property. A property with several is not ours alone: they differ in dimension, and nobody knows ours."""
        names = self._our_properties()
        found: dict[str, list[Index]] = {}
        for index in self._asker.ask(self._ends.wire.indexes):
            if index.label == self._entry.label and index.property_name in names:
                found.setdefault(index.property_name, []).append(index)
        return found

    def _our_properties(self) -> set[str]:
        """Embedding properties and spare ones, as the state knows them and as the configuration says now."""
        known = embedded_properties(self._ends.state.scope.fields(), self._entry.name)
        spared = {item.property_name: item.spare for item in self._entry.embeddings} | known
        return {*spared, *(spare_of(name) for name, spare in spared.items() if spare)}
