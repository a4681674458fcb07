"""A table of numbered rows, a state, and a target in memory that fails when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from byov_migrate.errors import Refused, Unavailable
from byov_migrate.jobs.embedding import Embedder, EmbeddingPlan
from byov_migrate.jobs.moving import unstored
from byov_migrate.jobs.pipeline import Pipeline, TableFlow, Totals
from byov_migrate.jobs.stages import Stopwatch
from byov_migrate.jobs.surroundings import Progress, Surroundings
from byov_migrate.records import Batch, KeyRange, Page, Position, Receipt, Rejected, Row
from byov_migrate.state import State
from byov_migrate.target.delivery import Accepted, Delivery
from tests.faults.batches import DIMENSION, PROBES, composer, vector_for

TABLE = "public.job"
ROWS = 60
BATCH_ROWS = 5
BATCHES = ROWS // BATCH_ROWS
BORDER = 35  # the first of two ranges ends here


@dataclass
class ScriptedDelivery(Delivery):
    """A target in memory. `fail_send` and `fail_confirm`: the number of the call that fails, from 1."""

    state: State
    fail_send: int = 0
    fail_confirm: int = 0
    refuse: frozenset[str] = frozenset()
    on_send: Callable[[int], None] = lambda _number: None
    stored: list[str] = field(default_factory=list)
    batches: list[list[str]] = field(default_factory=list)
    sends: int = 0
    confirms: int = 0
    at_once: int = 0
    most_at_once: int = 0
    unannounced: list[str] = field(default_factory=list)
    _numbering: threading.Lock = field(default_factory=threading.Lock)

    def late_s(self) -> float:
        """Nothing is ever lost here."""
        return 0.0

    def send(self, batch: Batch) -> Accepted:
        """Store the batch, or fail."""
        with self._numbering:
            self.sends += 1
            number = self.sends
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if batch.id not in {intent.batch for intent in self.state.journal.intents(TABLE)}:
                self.unannounced.append(batch.id)
            self.on_send(number)
            if number == self.fail_send:
                raise Unavailable("target is away")
            return self._accept(batch)
        finally:
            with self._numbering:
                self.at_once -= 1

    def _accept(self, batch: Batch) -> Accepted:
        keys = [item.document.key for item in batch.rows]
        kept = [key for key in keys if key not in self.refuse]
        with self._numbering:
            self.stored += kept
            self.batches.append(keys)
        rejects = tuple(Rejected(key, (key,), "write", "http-422", "no") for key in keys if key in self.refuse)
        return Accepted(batch, {key: f"id-{key}" for key in kept}, rejects)

    def confirm(self, accepted: Sequence[Accepted]) -> list[Receipt]:
        """Prove everything, or fail."""
        self.confirms += 1
        if self.confirms == self.fail_confirm:
            raise Unavailable("target is away")
        return [Receipt(item.batch, item.record_ids) for item in accepted]


@dataclass
class Rig:
    """A table of numbered rows and a state."""

    state: State
    around: Surroundings
    page_rows: int = 7
    batch_rows: int = BATCH_ROWS
    writers: int = 2
    reject_ceiling: int = 1000
    rejects: frozenset[int] = frozenset()
    broken_at: int = 0  # the row at which reading fails
    stop_at: int = 0  # the row at which a signal comes
    told: list[Progress] = field(default_factory=list)
    read: list[int] = field(default_factory=list)

    def rows_of(self, key_range: KeyRange) -> list[int]:
        """Numbers of a range from where it stands."""
        after = int((key_range.position or key_range.lower or ("0",))[0])
        upto = int(key_range.upper[0]) if key_range.upper else ROWS
        return list(range(after + 1, upto + 1))

    def pages(self) -> Iterator[Page]:
        """As the reader makes them: full pages, and a short one at each range's end."""
        for key_range in self.state.journal.open_ranges(TABLE):
            numbers, last = self.rows_of(key_range), key_range.position
            while True:
                some, numbers = numbers[: self.page_rows], numbers[self.page_rows :]
                if self.broken_at in some:
                    raise Refused("the table is not what it was")
                if self.stop_at in some:
                    self.around.stop.set()
                self.read += some
                last = (str(some[-1]),) if some else last
                done = len(some) < self.page_rows
                yield Page(tuple(map(self.row, some)), Position(key_range.id, last, done))
                if done:
                    break

    def row(self, number: int) -> Row | Rejected:
        """One row, or what is wrong with it."""
        key = str(number)
        if number in self.rejects:
            return Rejected(key, (key,), "read", "not-finite", "is NaN")
        return Row(key, (key,), {"title": "x"}, (vector_for(key),))

    def run(self, delivery: Delivery) -> Totals:
        """One run over what is left."""
        self.state.runs.begin_run("backfill")
        stopwatch = Stopwatch(self.around.monotonic)
        maker = composer()
        plan = EmbeddingPlan(maker.table.embeddings[0], DIMENSION, PROBES, None, None)
        before = self.state.ledger.count_records(TABLE)
        writing = (self.batch_rows, self.writers, self.reject_ceiling)
        flow = TableFlow(TABLE, "Job", ("description",), ROWS, before, *writing)
        embedder = Embedder(maker, [plan], stopwatch)
        return Pipeline(flow, maker, embedder, delivery, self.state, self.around, stopwatch).run(
            unstored(self.state, TABLE, self.pages())
        )

    @property
    def known(self) -> set[int]:
        """Numbers of the rows that are proved to be stored."""
        everything = [str(number) for number in range(1, ROWS + 1)]
        return {int(key) for key in self.state.ledger.known_keys(TABLE, everything)}

    @property
    def passed(self) -> set[int]:
        """Numbers of the rows that positions have passed: nobody will read them again."""
        left = {number for item in self.state.journal.open_ranges(TABLE) for number in self.rows_of(item)}
        return set(range(1, ROWS + 1)) - left

    def assert_nothing_passed_unsettled(self) -> None:
        """What is passed is stored, or known as a reject."""
        rejected = {int(row["key"]) for row in self.state.ledger.rejects(TABLE)}
        assert self.passed <= self.known | rejected
