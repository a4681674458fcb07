"""Proves that the target equals the source. Reads both sides; writes its report into the state and nothing else.

rows ──►  scratch file  ◄── records and scores        both at the same time, a thread each
              │
    differences, less what is behind, looked at again  ──►  verdict, samples  ──►  report
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias, get_args

from byov_migrate.config import Config, Entry
from byov_migrate.errors import ConfigurationError
from byov_migrate.jobs.prefetch import beside
from byov_migrate.jobs.ranges import again_and_again
from byov_migrate.jobs.reading import Reading, reading
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.sync_start import rows_of
from byov_migrate.jobs.table_work import Models
from byov_migrate.jobs.verify.candidate import ROWS, Contest, Pair, pairs_of, read_queries
from byov_migrate.jobs.verify.coming import wait_for_replica
from byov_migrate.jobs.verify.judging import Judge, Verdict
from byov_migrate.jobs.verify.links import LinkProof, link_proofs
from byov_migrate.jobs.verify.looks import Looker
from byov_migrate.jobs.verify.reading_sides import Pace, lister, read_source, read_target
from byov_migrate.jobs.verify.results import (
    Compared,
    SampleProof,
    TableVerification,
    Verification,
    compacted,
    property_counts,
    to_report,
)
from byov_migrate.jobs.verify.sampling import EMBEDDED_AGAIN, Sampled, prove_by_sample
from byov_migrate.jobs.verify.subject import Subject, examine
from byov_migrate.jobs.verify.tiers import TIERS, Tier, kinds_of
from byov_migrate.records import Rejected, Row
from byov_migrate.state.comparison import KINDS, Comparison, Kind, TableComparison, remove_scratch, translated

WITHHELD_SAMPLE = 200
RANGES = 1000
Drawn: TypeAlias = "Future[list[Row | Rejected]]"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a verify is to do. skip: tiers to leave out. stop_after: so many differences are enough.

    candidate: compare the vectors that searches do not use with those that they do. queries: by these too.
    """

    skip: tuple[Tier, ...] = ()
    stop_after: int | None = None
    restart: bool = False
    candidate: bool = False
    queries: tuple[str, ...] = field(default=(), repr=False)

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of differences that are looked for."""
        return kinds_of(self.skip)


def _wanted(skip: Sequence[str], stop_after: int | None, *, restart: bool) -> Wanted:
    known = get_args(Tier)
    for name in skip:
        if name not in known:
            raise ConfigurationError(f"--skip {name}: there are {', '.join(known)}")
    return Wanted(tuple(tier for tier in TIERS if tier in skip), stop_after, restart)


def _with_candidate(wanted: Wanted, queries: Path | None, *, candidate: bool) -> Wanted:
    if queries is not None and not candidate:
        raise ConfigurationError("--queries compares a candidate with the live vectors; it needs --candidate")
    return replace(wanted, candidate=candidate, queries=read_queries(queries) if queries else ())


def scratch_path(state: Path) -> Path:
    """Where a verify keeps what it has read."""
    return state.with_name(f"{state.name}.verify")


def verify(
    config: Config,
    *,
    skip: Sequence[str] = (),
    stop_after: int | None = None,
    restart: bool = False,
    candidate: bool = False,
    queries: Path | None = None,
    surroundings: Surroundings | None = None,
) -> Verification:
    """Compare every row with its record, every vector with the one that was sent.

    skip: parts to leave out, of rows, values, vectors, links, text. stop_after: so many differences are enough.
    restart: forget what a killed verify has read. candidate: afterwards compare what a second set of vectors finds with
    what the live one finds, for each embedding that has two, by rows of the table. queries: a file with a query a line,
    to compare by these too.

    Writers and syncs may go on meanwhile: what the next sync takes care of is counted as behind and is no difference.
    A verify that is killed goes on where it was, for a day. Raise ConfigurationError for a part that is none, Refused
    when there is no state, when model or ends are others than the state's, or when there is no candidate to compare;
    Interrupted after a stop; Unavailable while another verify of this state is at work.
    """
    around = surroundings or Surroundings()
    chosen = _with_candidate(_wanted(skip, stop_after, restart=restart), queries, candidate=candidate)
    with reading(config, around) as ends:
        pairs = pairs_of(ends) if candidate else ()
        path = scratch_path(config.state_path)
        identity = _identity(ends, chosen)
        opened = Comparison.opened(path, config.state_path, identity, around.clock(), restart=chosen.restart)
        with translated(path), opened as comparison:
            run = _Run(ends, chosen, comparison, Models(ends.config, around.log), around, pairs)
            result = run.verification()
        remove_scratch(path)
        ends.state.reports.keep("verify", to_report(result))
    return result


def _identity(ends: Reading, asked: Wanted) -> str:
    """Of everything that decides what is read and compared."""
    parts = [
        ends.state.runs.state_id,
        ends.config.entries,
        ends.config.links,
        ends.config.models,
        asked.skip,
        ends.config.target.base_url,
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass(frozen=True)
class _Run:
    """One verify."""

    ends: Reading
    asked: Wanted
    comparison: Comparison
    models: Models
    around: Surroundings
    pairs: Sequence[Pair]

    def verification(self) -> Verification:
        began = self.around.monotonic()
        tables: list[TableVerification] = []
        stopped = False
        subjects = {table.label: examine(self.ends, table, self.models) for table in self.ends.config.entries}
        contests = [
            Contest(pair, subjects[pair.label], self.models, self.around, self.asked.queries) for pair in self.pairs
        ]
        proofs = link_proofs(self.ends.links, subjects, self.comparison.connection)
        for number, subject in enumerate(subjects.values()):
            if not stopped:
                found, stopped = self._table(number, subject, proofs, sum(item.total for item in tables))
                tables.append(found)
        if not stopped and "links" not in self.asked.skip:
            tables = [self._with_links(table, proofs) for table in tables]
        candidates = () if stopped else tuple(self._compared(contest, list(subjects)) for contest in contests)
        seconds = self.around.monotonic() - began
        state_id = self.ends.state.runs.state_id
        told = (self.comparison.began, seconds, self.asked.skip, stopped, tuple(tables), candidates)
        return Verification(state_id, *told)

    def _compared(self, contest: Contest, labels: Sequence[str]) -> Compared:
        """By rows that nobody chose."""
        subject = contest.subject
        number = labels.index(subject.table.label)
        comparison = self.comparison.at(number, subject.table.name, subject.properties)
        return contest.compared([position for _, position in comparison.sample(ROWS)])

    def _with_links(self, table: TableVerification, proofs: Sequence[LinkProof]) -> TableVerification:
        """A table's proof, with that of the links that lead from it."""
        verdict = Verdict()
        links = 0
        if proofs:
            self.comparison.index_ids()
        for proof in proofs:
            if proof.link.source.entry.label == table.label:
                found = proof.prove()
                links += found.links
                verdict.behind["links"] += found.behind
                verdict.unlooked += found.unlooked
                for item in found.found:
                    verdict.count(item)
        return replace(
            table,
            links=links,
            counts={**table.counts, "links": verdict.counts["links"] + verdict.unlooked},
            behind={**table.behind, "links": verdict.behind["links"]},
            differences=(*table.differences, *verdict.differences),
            unlooked=table.unlooked + verdict.unlooked,
        )

    def _table(
        self, number: int, subject: Subject, proofs: Sequence[LinkProof], before: int
    ) -> tuple[TableVerification, bool]:
        name = subject.table.name
        comparison = self.comparison.at(number, name, subject.properties)
        wait_for_replica(subject)
        unwanted = threading.Event()
        pace = Pace(self.around, subject, rows_of(self.ends.state, name), unwanted)
        pace.starts(comparison.count_rows(), comparison.count_records())
        links = [proof for proof in proofs if proof.link.source.entry.label == subject.table.label]
        verdict = Verdict()
        with beside("source", unwanted) as worker:
            drawn = worker.submit(_draw, subject, comparison, pace, links)
            prove = partial(self._prove, subject, pace, drawn)
            early = worker.submit(prove) if self.asked.stop_after is None else None
            stopped = self._judge(_Sides(subject, number, comparison, pace, links, drawn), verdict, before)
            samples = () if stopped else _counted((early or worker.submit(prove)).result(), verdict)
        return _result(subject, comparison, verdict, samples), stopped

    def _prove(self, subject: Subject, pace: Pace, drawn: Drawn) -> list[Sampled]:
        """By sample, what was drawn before in the same thread."""
        if "vectors" in self.asked.skip:
            return []
        return [prove_by_sample(subject, number, drawn.result(), pace) for number in range(len(subject.plans))]

    def _judge(self, sides: _Sides, verdict: Verdict, before: int) -> bool:
        """Read the target and judge; True when enough differences were found to stop."""
        comparison, enough = sides.comparison, self.asked.stop_after
        listing = lister(sides.subject, self.around, with_vectors="vectors" not in self.asked.skip)
        looker = Looker(sides.subject, sides.number, listing, self.asked.kinds)
        judge = Judge(comparison, looker, self.ends.patience)
        judged: set[str] = set()
        for chunk in read_target(sides.subject, comparison, listing, sides.pace, sides.links):
            sides.require_source(wait=enough is not None)
            if enough is not None:
                judged |= set(chunk)
                judge.judge(verdict, slices=chunk)
                if before + sum(verdict.counts.values()) >= enough:
                    return True
        sides.require_source(wait=True)
        sample = WITHHELD_SAMPLE if "text" not in self.asked.skip else 0
        rest = None if not judged else sorted(comparison.slices_read() - judged)
        judge.judge(verdict, slices=rest, sample=sample)
        return enough is not None and before + sum(verdict.counts.values()) >= enough


@dataclass(frozen=True)
class _Sides:
    """A table whose source is being read beside the target."""

    subject: Subject
    number: int
    comparison: TableComparison
    pace: Pace
    links: Sequence[LinkProof]
    drawn: Drawn

    def require_source(self, *, wait: bool) -> None:
        """Raise what reading the source raised. wait: until it is read, and its connection is free."""
        if wait or self.drawn.done():
            self.drawn.result()


def _draw(
    subject: Subject, comparison: TableComparison, pace: Pace, links: Sequence[LinkProof]
) -> list[Row | Rejected]:
    """Read the source; the rows of the sample."""
    read_source(subject, comparison, pace, links)
    positions = [position for _, position in comparison.sample(EMBEDDED_AGAIN)]
    return again_and_again(partial(subject.reader.rows, positions), subject.ends.patience)


def _counted(sampled: Sequence[Sampled], verdict: Verdict) -> tuple[SampleProof, ...]:
    """The proofs, once what they found is counted."""
    known = {item.key for item in verdict.differences if item.kind == "vectors"}
    for item in (item for one in sampled for item in one.differences if item.key not in known):
        verdict.count(item)
    return tuple(one.proof for one in sampled)


def _result(
    subject: Subject, comparison: TableComparison, verdict: Verdict, proofs: tuple[SampleProof, ...]
) -> TableVerification:
    table = subject.table
    if isinstance(table, Entry) and table.distinct is not None and table.unused == "keep":
        verdict.behind["extra"] = 0  # values that no row has any more stay, as was asked for
    missing = [item.key for item in verdict.differences if item.kind == "missing"]
    places = {key: number for key, (number, _) in comparison.positions(missing).items()}
    return TableVerification(
        table=subject.table.name,
        label=subject.table.label,
        rows=comparison.count_rows(),
        records=comparison.count_records(),
        vectors=comparison.count_marks(),
        adopted=subject.ends.state.ledger.count_adopted(subject.table.name, subject.properties),
        counts={kind: verdict.counts[kind] for kind in KINDS},
        behind={kind: verdict.behind[kind] for kind in KINDS},
        differences=verdict.differences,
        unlooked=verdict.unlooked,
        properties=property_counts(verdict.differences, subject.allowed),
        ranges=tuple(list(compacted(places))[:RANGES]),
        proofs=proofs,
    )
