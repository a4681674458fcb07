"""Both sides of a table into the scratch file, from wherever an earlier run got to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from byov_migrate.digests import SLICES
from byov_migrate.errors import Interrupted, TooLarge
from byov_migrate.jobs.ranges import range_pages
from byov_migrate.jobs.surroundings import Progress, Surroundings
from byov_migrate.jobs.verify.links import LinkProof
from byov_migrate.jobs.verify.subject import Subject
from byov_migrate.records import KeyRange
from byov_migrate.state.comparison import TableComparison
from byov_migrate.target.listing import Lister, first_width, next_width
from byov_migrate.target.wire import Stored

PAGE_ROWS = 1000
STRAYS = ""
"""Stands among the slices for records of ours that are in none."""


@dataclass(frozen=True)
class Pace:
    """Tells how far one side is read, and ends it after a stop."""

    around: Surroundings
    subject: Subject
    side: str
    total: int
    before: int
    began: float

    def reached(self, rows: int) -> None:
        """So many rows are read. Raise Interrupted after a stop."""
        if self.around.stop.is_set():
            raise Interrupted
        seconds = max(self.around.monotonic() - self.began, 1e-9)
        rate = (rows - self.before) / seconds
        table = self.subject.table
        total = max(self.total, rows)
        self.around.progress(Progress(table.name, table.label, rows, total, 0, rate, f"reading the {self.side}", 1.0))


def read_source(
    subject: Subject,
    comparison: TableComparison,
    around: Surroundings,
    rows: int,
    links: Sequence[LinkProof] = (),
) -> None:
    """Every row; `rows`: about how many there are. Raise Interrupted after a stop: what was read is kept."""
    upto, done = comparison.position()
    if done:
        return
    pace = Pace(around, subject, "source", rows, comparison.count_rows(), around.monotonic())
    pages = range_pages(subject.reader, KeyRange(0, None, None, upto), PAGE_ROWS, subject.ends.patience)
    count = pace.before
    for page in pages:
        with comparison.together():
            comparison.add_rows(subject.source_rows(page.rows))
            for link in links:
                link.take_rows(page.rows)
            if page.position is not None:
                comparison.mark_source(page.position.upto, done=page.position.done)
        count += len(page.rows)
        pace.reached(count)


@dataclass(frozen=True)
class RecordSink:
    """Takes what is listed into a comparison; what has no key is somebody else's. `meets` is shown every record."""

    subject: Subject
    comparison: TableComparison
    meets: Callable[[Stored], None] | None = None

    def records(self, found: Sequence[Stored]) -> None:
        """Some records."""
        ours = [record for record in found if "byovKey" in record.properties]
        self.comparison.add_records(map(self.subject.target_record, ours))
        if self.meets is not None:
            for record in ours:
                self.meets(record)

    def scores(self, number: int, probe: int, found: Sequence[Stored]) -> None:
        """Records in an index, scored against one probe."""
        scored = ((record.record_id, record.score) for record in found if record.score is not None)
        self.comparison.add_scores(self.subject.properties[number], probe, scored)


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
    around: Surroundings,
    links: Sequence[LinkProof] = (),
) -> Iterator[list[str]]:
    """Every record of ours, chunk by chunk; yields the slices of each chunk that is read.

    Raise Interrupted after a stop: the chunks that were read are kept.
    """
    left = sorted(set(SLICES) - comparison.slices_read())
    total = listing.count()
    width = first_width(total)
    sink = RecordSink(subject, comparison, partial(_take_record, links))
    pace = Pace(around, subject, "target", total, comparison.count_records(), around.monotonic())
    while left:
        chunk = left[:width]
        try:
            with comparison.together():
                effort = listing.read(chunk, sink)
                comparison.mark_target(chunk)
        except TooLarge:
            if width == 1:
                raise
            width = max(1, width // 2)
            continue
        left, width = left[width:], next_width(width, effort)
        pace.reached(comparison.count_records())
        yield chunk
    if STRAYS not in comparison.slices_read() and listing.count() != comparison.count_records():
        with comparison.together():
            listing.read_strays(sink)
            comparison.mark_target([STRAYS])
        yield [STRAYS]
