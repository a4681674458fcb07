"""A lost state rebuilt from what RushDB and PostgreSQL hold; nothing is embedded, and no record is written.

    markers, hash key  ──►  both sides compared  ──►  new state, beside its place  ──►  consent, a label each
                                                  ──►  markers name the new state  ──►  counted again  ──►  in its place

A kill before the end leaves no state: the same command begins again, whichever state the markers name by then. Cursors
are taken before the first row is read, and what differs from its row is unsettled: the first sync needs no full pass.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from byov_migrate.config import Config, Entry, TableConfig
from byov_migrate.errors import ConfigurationError, ConsentNeeded, Refused
from byov_migrate.jobs import table_work
from byov_migrate.jobs.linking import register_links
from byov_migrate.jobs.opening import Ends, opened_anew
from byov_migrate.jobs.ranges import again_and_again
from byov_migrate.jobs.reading import Reading
from byov_migrate.jobs.recognising import as_indexed
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.table_work import Models
from byov_migrate.jobs.verify.job import scratch_path
from byov_migrate.jobs.verify.links import LinkProof, link_proofs
from byov_migrate.jobs.verify.reading_sides import Pace, lister, read_source, read_target
from byov_migrate.jobs.verify.subject import Subject, examine
from byov_migrate.source import Paired, RangePlan
from byov_migrate.state.adopting import Adopting, Taken, finish_plan, set_generation, take_standing
from byov_migrate.state.comparison import Comparison, remove_scratch, translated
from byov_migrate.target import provision
from byov_migrate.target.listing import EVERY_KEY
from byov_migrate.target.provision import Marker
from byov_migrate.target.wire import Where

COMMAND = "adopt"
SAMPLE = 100
ALL: Where = {}
OURS: Where = {"$and": [EVERY_KEY, {"byovKey": {"$ne": provision.UNIQUENESS_KEY}}]}


@dataclass(frozen=True, slots=True)
class TableAdopted:
    """What the new state knows of one table.

    owner: the state that the marker named. differing: records to be read again; gone: without a row; missing: rows
    without a record; doubled: records beyond the first of their key; others: records without `byovKey`. vectors and
    scores_adopted, by property: all, and those whose scores are RushDB's own word.
    """

    table: str
    label: str
    owner: str
    owner_generation: int
    records: int
    others: int
    doubled: int
    differing: int
    gone: int
    missing: int
    vectors: Mapping[str, int]
    scores_adopted: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class AdoptResult:
    """One result a label that had an owner, in the order of the configuration."""

    state: str
    generation: int
    tables: tuple[TableAdopted, ...]


Ask = Callable[[TableAdopted], str | None]
"""Shows what was found and returns what a person typed; None when there is nobody to ask."""


def _nobody(_found: TableAdopted) -> None:
    return None


def adopt(
    config: Config, *, agreed: Sequence[str] = (), ask: Ask = _nobody, surroundings: Surroundings | None = None
) -> AdoptResult:
    """Rebuild the state of every label that byov-migrate has written; labels that nobody claimed are left out.

    agreed: labels that were consented to. ask: for the others. Raise Refused when there is a state that knows records,
    when the hash key is gone or another one, when records have no marker, or come from another source or model;
    ConsentNeeded when nobody answers, ConfigurationError for a wrong label: nothing is changed then.
    """
    around = surroundings or Surroundings()
    _require_hash_key(config)
    _require_labels(config, agreed)
    with opened_anew(config, COMMAND, around) as made:
        ends = dataclasses.replace(made, config=as_indexed(made))
        owners = {entry.label: owner for entry in config.entries if (owner := _owner(ends, entry))}
        if not owners:
            raise Refused("RushDB holds nothing of ours under these labels", next_step="byov-migrate backfill")
        scratch = scratch_path(ends.state.store.path)
        now = around.clock()
        try:
            opened = Comparison.opened(scratch, ends.state.store.path, COMMAND, now, restart=True)
            with translated(scratch), opened as comparison:
                rebuilding = _Rebuilding(ends, comparison, owners)
                found, counted = rebuilding.carry_out()
        finally:
            remove_scratch(scratch)
        _require_consent(found, agreed, ask)
        return _take_over(ends, owners, found, counted)


def _require_hash_key(config: Config) -> None:
    file = config.hash_key.file
    if file is not None and not file.exists():
        raise Refused(
            f"the hash key {file.name} is gone too; without it no stored hash can be compared with a row, and every"
            " record would have to be written and embedded anew. Put the file back from a backup, or move the tables"
            " into another label; nothing was changed"
        )


def _require_labels(config: Config, agreed: Iterable[str]) -> None:
    labels = [entry.label for entry in config.entries]
    for label in agreed:
        if label not in labels:
            raise ConfigurationError(f"--yes {label}: the labels are {', '.join(labels)}; nothing was changed")


def _owner(ends: Ends, entry: Entry) -> Marker | None:
    """The label's marker. Raise Refused when there is none for our records, or when it cannot be ours."""
    marker = provision.marker_of(ends.wire, ends.patience, entry.label)
    records, total = ends.patience.retry(partial(ends.wire.find, entry.label, OURS, limit=SAMPLE))
    if marker is None:
        if total:
            raise Refused(
                f"RushDB holds {total:,} records of {entry.label} that byov-migrate wrote, and no marker that says from"
                " where; nothing was changed. Use another label"
            )
        return None
    _require_same_source(ends, entry, marker)
    strange = sum(record.properties.get("byovSlice") != ends.digests.slice_of(record.key) for record in records)
    if 2 * strange > len(records):
        raise Refused(
            f"the records of {entry.label} were written with another hash key; nothing was changed. A run without the"
            " key file has made a new one, perhaps: put the old one back from a backup, or use another label"
        )
    return marker


def _require_same_source(ends: Ends, entry: Entry, marker: Marker) -> None:
    here = ends.source_name(entry)
    if marker.source == here:
        return
    system, _, rest = marker.source.partition("/")
    moved = rest == here.partition("/")[2]
    raise Refused(
        f"the records of {entry.label} come from {marker.source}, and this source is {here}; nothing was changed",
        next_step=f'if it is the same database, moved: set source_id = "{system}" under [state]' if moved else None,
    )


@dataclass(frozen=True)
class _Rebuilding:
    """Fills the new state. owners: by label, of the labels that are adopted."""

    ends: Ends
    comparison: Comparison
    owners: Mapping[str, Marker]

    def carry_out(self) -> tuple[list[TableAdopted], dict[str, int]]:
        """What became known of each table, and how many records each label was seen to hold."""
        ends, models = self.ends, Models(self.ends.config, self.ends.around.log)
        held = Reading(ends.config, ends.state, ends.digests, ends.session, ends.wire, ends.patience)
        subjects = {entry.label: examine(held, entry, models, by_text=True) for entry in ends.config.entries}
        register_links(ends)
        proofs = link_proofs(ends.links, subjects, self.comparison.connection)
        found, counted = [], {}
        for number, subject in enumerate(subjects.values()):
            if subject.table.label in self.owners:
                counted[subject.table.label] = self._read(number, subject, proofs)
                found.append(self._take(number, subject, proofs))
        if proofs:
            self.comparison.index_ids()
            self._list_paired(subjects, proofs)
        return found, counted

    def _read(self, number: int, subject: Subject, proofs: Sequence[LinkProof]) -> int:
        """Both sides into the scratch file; return how many records there are. The cursor is taken before."""
        ends, name = self.ends, subject.table.name
        planned = again_and_again(subject.reader.plan_ranges, ends.patience)
        links = [proof for proof in proofs if proof.source is subject]
        at = self.comparison.at(number, name, subject.properties)
        pace = Pace(ends.around, subject, planned.rows, threading.Event())
        pace.starts(0, 0)
        read_source(subject, at, pace, links)
        for _ in read_target(subject, at, lister(subject, ends.around, with_vectors=True), pace, links):
            pass
        self._begin(subject, planned)
        return at.count_records()

    def _begin(self, subject: Subject, planned: RangePlan) -> None:
        """Plan, cursor and scope, as a backfill leaves them."""
        state, name = self.ends.state, subject.table.name
        state.scope.adopt(self._fields(subject))
        state.cursors.begin(name, dataclasses.asdict(planned.cursor))
        state.journal.store_plan(name, planned.boundaries, rows=planned.rows, snapshot=planned.snapshot)
        finish_plan(state.store, name)

    def _fields(self, subject: Subject) -> dict[str, Any]:
        ends = self.ends
        known = ends.patience.retry(ends.wire.indexes)
        project = known[0].project if known else None
        places = table_work.place_fields(ends.system, ends.source_identity.database, ends.digests, project)
        return table_work.scope_of(subject.table, subject.reader, subject.plans, places, ends.links)

    def _take(self, number: int, subject: Subject, proofs: Sequence[LinkProof]) -> TableAdopted:
        table, owner = subject.table, self.owners[subject.table.label]
        adopting = Adopting(self.comparison.connection, number, table.name, trial=provision.UNIQUENESS_KEY)
        self._require_same_models(subject, adopting)
        links = {n: proof.link.name for n, proof in enumerate(proofs) if proof.source is subject}
        carried = {n: name for n, name in links.items() if proofs[n].link.is_carried}
        taken = adopting.take(carried)
        return _adopted(table, owner, taken, self._others(table.label))

    def _require_same_models(self, subject: Subject, adopting: Adopting) -> None:
        for plan in subject.plans:
            name = plan.config.carrier
            count, other = adopting.strange_marks(name, (plan.fingerprint or "ready")[:12])
            if count:
                raise Refused(
                    f"{count:,} vectors of {subject.table.label}.{name} were made by {other}, and the configuration"
                    f" says {(plan.fingerprint or 'ready')[:12]}; nothing was changed. Use the model and the settings"
                    " that made them"
                )

    def _others(self, label: str) -> int:
        ends = self.ends
        counts = [ends.patience.retry(partial(ends.wire.find, label, where, limit=1))[1] for where in (ALL, EVERY_KEY)]
        return max(counts[0] - counts[1], 0)

    def _list_paired(self, subjects: Mapping[str, Subject], proofs: Sequence[LinkProof]) -> None:
        """Links of join tables that stand: of those that the source does not tell of any more nothing else knows."""
        numbers = {label: number for number, label in enumerate(subjects)}
        for number, proof in enumerate(proofs):
            link = proof.link
            if not isinstance(link.way, Paired):
                continue
            labels = (link.source.entry.label, link.target.entry.label)
            for page in proof.listed():
                proof.comparison.add_standing((item.source, item.target, "") for item in page)
            take_standing(self.comparison.connection, number, link.name, *(numbers[label] for label in labels))


def _adopted(table: TableConfig, owner: Marker, taken: Taken, others: int) -> TableAdopted:
    return TableAdopted(
        table=table.name,
        label=table.label,
        owner=owner.state,
        owner_generation=owner.generation,
        records=taken.records,
        others=others,
        doubled=taken.doubled,
        differing=taken.differing,
        gone=taken.gone,
        missing=taken.missing,
        vectors=taken.vectors,
        scores_adopted=taken.scores_adopted,
    )


def _require_consent(found: Sequence[TableAdopted], agreed: Sequence[str], ask: Ask) -> None:
    for table in found:
        if table.label in agreed:
            continue
        typed = ask(table)
        if typed is None:
            counts = ", ".join(f"{one.records:,} records of {one.label}" for one in found)
            options = " ".join(f"--yes {one.label}" for one in found)
            raise ConsentNeeded(
                f"{counts} would be adopted; nothing was changed",
                next_step=f"if meant: byov-migrate {COMMAND} {options}",
            )
        if typed != table.label:
            raise ConfigurationError(f"what was typed is not {table.label}; nothing was changed")


def _take_over(
    ends: Ends, owners: Mapping[str, Marker], found: Sequence[TableAdopted], counted: Mapping[str, int]
) -> AdoptResult:
    """Name the new state in every marker, see that nothing was written meanwhile, and close its first run."""
    generation = 1 + max(owner.generation for owner in owners.values())
    set_generation(ends.state.store, generation)
    state_id = ends.state.runs.state_id
    for label, owner in owners.items():
        ours = Marker(label, state_id, owner.source, generation)
        provision.take_over(ends.wire, ends.patience, owner, ours)
    for label, count in counted.items():
        now = ends.patience.retry(partial(ends.wire.find, label, EVERY_KEY, limit=1))[1]
        if now != count:
            raise Refused(
                f"{label} holds {now:,} records now and held {count:,}: another run is at work; end it first",
                next_step=f"byov-migrate {COMMAND}",
            )
    result = AdoptResult(state_id, generation, tuple(found))
    summary = {table.table: dataclasses.asdict(table) for table in found}
    ends.note("adopted", generation=generation, tables=summary)
    ends.state.reports.keep(COMMAND, {"state": state_id, "tables": [*summary.values()]})
    ends.finish(0, summary)
    return result
