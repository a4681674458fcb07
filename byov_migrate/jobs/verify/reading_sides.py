"""Both sides of a table into the scratch file, at the same time and each from wherever an earlier run got to.

Only reading takes long on the other machines, so whoever waits for one side lets the other one be worked on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

from byov_migrate.digests import SLICES
from byov_migrate.errors import Interrupted, TooLarge
from byov_migrate.jobs.ranges import range_pages
from byov_migrate.jobs.surroundings import Progress, Surroundings
from byov_migrate.jobs.verify.links import LinkProof
from byov_migrate.jobs.verify.subject import Subject
from byov_migrate.records import KeyRange
from byov_migrate.state.comparison import Scored, TableComparison
from byov_migrate.target.listing import Lister, first_width, next_width
from byov_migrate.target.wire import Stored

PAGE_ROWS = 1000
STRAYS = ""
"""Stands among the slices for records of ours that are in none."""
SideName: TypeAlias = Literal["source", "target"]


@dataclass
class Pace:
    """Tells how far both sides are read, and ends that after a stop. rows: about how many the source has.

    unwanted: set when nobody waits for the sides any more.
    """

    around: Surroundings
    subject: Subject
    rows: int
    unwanted: threading.Event
    _read: dict[SideName, int] = field(default_factory=dict)
    _before: int = 0
    _began: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def starts(self, source: int, target: int) -> None:
        """So many rows and records an earlier run has read."""
        self._read = {"source": source, "target": target}
        self._before, self._began = min(source, target), self.around.monotonic()

    def require_wanted(self) -> None:
        """Raise Interrupted after a stop."""
        if self.around.stop.is_set() or self.unwanted.is_set():
            raise Interrupted

    def reached(self, side: SideName, count: int) -> None:
        """So many rows or records are read. Raise Interrupted after a stop."""
        self.require_wanted()
        with self._lock:
            self._read[side] = count
            self.around.progress(self._progress())

    def _progress(self) -> Progress:
        """What both sides have read counts."""
        table, compared = self.subject.table, min(self._read.values())
        rate = (compared - self._before) / max(self.around.monotonic() - self._began, 1e-9)
        behind = "source" if self._read["source"] < self._read["target"] else "target"
        total = max(self.rows, *self._read.values())
        return Progress(table.name, table.label, compared, total, 0, rate, f"reading the {behind}", 1.0)


def read_source(subject: Subject, comparison: TableComparison, pace: Pace, links: Sequence[LinkProof] = ()) -> None:
    """Every row. Raise Interrupted after a stop: what was read is kept."""
    upto, done = comparison.position()
    if done:
        return
    count = comparison.count_rows()
    for page in range_pages(subject.reader, KeyRange(0, None, None, upto), PAGE_ROWS, subject.ends.patience):
        rows = subject.source_rows(page.rows)
        with comparison.together():
            comparison.add_rows(rows)
            for link in links:
                link.take_rows(page.rows)
            if page.position is not None:
                comparison.mark_source(page.position.upto, done=page.position.done)
        count += len(rows)
        pace.reached("source", count)


@dataclass(frozen=True)
class RecordSink:
    """Takes what is listed into a comparison; what has no key is somebody else's. `meets` is shown every record."""

    subject: Subject
    comparison: TableComparison
    meets: Callable[[Stored], None] | None = None

    def records(self, found: Sequence[Stored]) -> None:
        """Some records."""
        ours = [record for record in found if "byovKey" in record.properties]
        with self.comparison.together():
            self.comparison.add_records(map(self.subject.target_record, ours))
            if self.meets is not None:
                for record in ours:
                    self.meets(record)

    def scores(self, number: int, found: Iterable[Scored]) -> None:
        """Records in an index, scored against its probes."""
        with self.comparison.together():
            self.comparison.add_scores(self.subject.properties[number], found)


def lister(subject: Subject, around: Surroundings, *, with_vectors: bool) -> Lister:
    """What lists the table's records; without vectors nothing is searched for."""
    indexes = subject.indexes if with_vectors else tuple(None for _ in subject.indexes)
    probes = tuple(plan.probes for plan in subject.plans)
    ends = subject.ends
    return Lister(ends.wire, ends.patience, subject.table.label, subject.properties, indexes, probes, around.monotonic)


def _take_record(links: Sequence[LinkProof], record: Stored) -> None:
    for link in links:
        link.take_record(record)


def read_target(
    subject: Subject,
    comparison: TableComparison,
    listing: Lister,
    pace: Pace,
    links: Sequence[LinkProof] = (),
) -> Iterator[list[str]]:
    """Every record of ours, chunk by chunk; yields the slices of each chunk that is read.

    Raise Interrupted after a stop: the chunks that were read are kept. Of one that was not read to its end some records
    may be kept too; it is read again.
    """
    left = sorted(set(SLICES) - comparison.slices_read())
    width = first_width(listing.count())
    sink = RecordSink(subject, comparison, partial(_take_record, links))
    while left:
        chunk = left[:width]
        try:
            effort = listing.read(chunk, sink)
        except TooLarge:
            if width == 1:
                raise
            width = max(1, width // 2)
            continue
        with comparison.together():
            comparison.mark_target(chunk)
        left, width = left[width:], next_width(width, effort)
        pace.reached("target", comparison.count_records())
        yield chunk
    if STRAYS not in comparison.slices_read() and listing.count() != comparison.count_records():
        listing.read_strays(sink)
        with comparison.together():
            comparison.mark_target([STRAYS])
        yield [STRAYS]
