"""Batches to RushDB, and the proof that they arrived. The only module that makes a Receipt.

    send     create the records, attach the vectors: *accepted*. An answer proves nothing; a lost one even less.
    confirm  ask RushDB what it holds: *stored*, a Receipt.

What proves what: the vectors call refuses unknown record ids, so its success proves that the records were committed;
the index's count proves that no new vector was lost; rows without vectors are counted by batch. Where the count does
not fit, each batch is asked for by an exact search whose scores must be those of the vectors that were sent.

After an answer that was lost the same batch is never sent again before the server's request budget has passed and the
batch has been looked for: the first request may still be running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeVar

from byov_migrate.digests import SCORE_TOLERANCE
from byov_migrate.errors import Ambiguous, Retriable, RowRefused, TooLarge, Unavailable
from byov_migrate.records import Batch, Embedded, Receipt, Rejected, Vector
from byov_migrate.target.pace import Pace
from byov_migrate.target.retry import Patience
from byov_migrate.target.wire import Index, Outbound, Stored, Wire

T = TypeVar("T")
WriteMode = Literal["inline", "two-call"]
FIND_ROWS = 1000
LOOK_TIMES = 5
"""How often a batch whose answers were lost is looked for and sent again before the run gives up."""


@dataclass(frozen=True)
class Destination:
    """One label and its indexes, in the order of the embeddings."""

    label: str
    indexes: tuple[Index, ...]
    mode: WriteMode
    probes: tuple[Vector, ...]  # one an index, shape (3, dimension)


@dataclass(frozen=True)
class Accepted:
    """A batch that was answered with success. Not proved."""

    batch: Batch
    record_ids: Mapping[str, str] = field(repr=False)
    rejected: tuple[Rejected, ...] = ()

    @property
    def rows(self) -> list[Embedded]:
        """The rows that were not rejected."""
        return [item for item in self.batch.rows if item.document.key in self.record_ids]

    def vectors(self, number: int) -> dict[str, Vector]:
        """Record id -> vector of the embedding of this number, of rows that have one."""
        held = ((self.record_ids[item.document.key], item.vectors[number]) for item in self.rows)
        return {record_id: vector for record_id, vector in held if vector is not None}


class Delivery:
    """Sends and confirms the batches of one label. `send` may be called from several threads, `confirm` from one."""

    def __init__(
        self, wire: Wire, destination: Destination, patience: Patience, *, request_budget_s: float, writers: int = 1
    ) -> None:
        self._wire = wire
        self._to = destination
        self._patience = patience
        self._budget_s = request_budget_s
        self._pace = Pace(writers)
        self._rows_limit = FIND_ROWS
        self._counted = [0] * len(destination.indexes)

    def _ask(self, action: Callable[[], T]) -> T:
        """One request, in turn, as often as patience allows."""
        return self._patience.retry(lambda: self._pace.ask(action))

    def send(self, batch: Batch) -> Accepted:
        """Create the batch's records and attach their vectors; rows the server refuses come back as rejects.

        Raise Unavailable when the target stays away, Interrupted when a signal ended a wait.
        """
        return self._send_rest(batch, {})

    def _send_rest(self, batch: Batch, found: Mapping[str, str]) -> Accepted:
        """Send what is not among the records found."""
        for _ in range(LOOK_TIMES):
            try:
                return self._send_once(batch, found)
            except Ambiguous as error:
                self._patience.pause(f"{error}; waiting for the request to end before looking", self._budget_s)
                found = self.look_for(batch.id)
        raise Unavailable(f"target lost the answer to the same batch {LOOK_TIMES} times")

    def _send_once(self, batch: Batch, found: Mapping[str, str]) -> Accepted:
        record_ids, rejected = dict(found), []
        missing = [item for item in batch.rows if item.document.key not in record_ids]
        for part in self._portions(missing):
            rejected += self._create(part, record_ids)
        accepted = Accepted(batch, record_ids, tuple(rejected))
        if self._to.mode == "two-call" or found:
            for number in range(len(self._to.indexes)):
                self._attach(number, accepted.vectors(number))
        return accepted

    def _portions(self, rows: Sequence[Embedded]) -> Iterator[Sequence[Embedded]]:
        start = 0
        while start < len(rows):
            limit = self._rows_limit  # another thread may have lowered it meanwhile
            yield rows[start : start + limit]
            start += limit

    def _create(self, rows: Sequence[Embedded], record_ids: dict[str, str]) -> list[Rejected]:
        """Create rows, adding their ids; halve what is too large or refused, down to the single row."""
        outbound = [self._outbound(item) for item in rows]
        try:
            made = self._ask(lambda: self._wire.create(self._to.label, outbound))
        except TooLarge as error:
            if len(rows) == 1:
                return [_reject(rows[0], "too-large", str(error))]
            self._rows_limit = max(1, min(self._rows_limit, len(rows) // 2))
        except RowRefused as error:
            if len(rows) == 1:
                return [_reject(rows[0], error.code, "RushDB refuses this row when it is sent alone")]
        else:
            if len(made) != len(rows):
                raise Ambiguous(f"target named {len(made)} of {len(rows)} records it was to make")
            record_ids.update(made)
            return []
        middle = len(rows) // 2
        return self._create(rows[:middle], record_ids) + self._create(rows[middle:], record_ids)

    def _outbound(self, item: Embedded) -> Outbound:
        document = item.document
        if self._to.mode == "two-call":
            return Outbound(document.key, document.properties)
        names = (index.property_name for index in self._to.indexes)
        vectors = {name: vector for name, vector in zip(names, item.vectors, strict=True) if vector is not None}
        return Outbound(document.key, document.properties, vectors)

    def _attach(self, number: int, vectors: Mapping[str, Vector]) -> None:
        """Attach vectors; setting the same ones twice does no harm, so a lost answer is simply asked again."""
        if not vectors:
            return
        index = self._to.indexes[number]
        try:
            self._ask(lambda: _repeatable(lambda: self._wire.attach(index, vectors)))
        except TooLarge:
            if len(vectors) == 1:
                raise
            for half in _halves(vectors):
                self._attach(number, half)
        except RowRefused as error:
            # Vectors were checked before; what is left is that the records are not there: the create was lost.
            raise Ambiguous(f"target does not know records it has just named ({error})") from error

    def begin_counting(self) -> None:
        """Take the indexes' counts as the base of later proofs; nothing of ours may be in flight."""
        self._counted = [self._count(index) for index in self._to.indexes]

    def confirm(self, accepted: Sequence[Accepted]) -> list[Receipt]:
        """Receipts for all of these batches; what was lost is sent again until it is stored.

        None of our vectors calls may be in flight.
        """
        for _ in range(LOOK_TIMES):
            doubtful = self._doubtful(accepted)
            if not doubtful:
                return [Receipt(item.batch, item.record_ids) for item in accepted]
            self._patience.pause("target does not hold what it accepted; looking again", self._budget_s)
            accepted = [self._send_again(item) if item.batch.id in doubtful else item for item in accepted]
        raise Unavailable(f"target accepts records of {self._to.label} and does not keep them")

    def _send_again(self, accepted: Accepted) -> Accepted:
        return self._send_rest(accepted.batch, self.look_for(accepted.batch.id))

    def _doubtful(self, accepted: Sequence[Accepted]) -> set[str]:
        """Ids of the batches that are not proved to be stored whole."""
        numbers = range(len(self._to.indexes))
        unproved = {batch for number in numbers for batch in self._without_vectors(number, accepted)}
        return unproved | self._without_records(accepted)

    def _without_vectors(self, number: int, accepted: Sequence[Accepted]) -> set[str]:
        sent = sum(len(item.vectors(number)) for item in accepted)
        if not sent:
            return set()
        count = self._count(self._to.indexes[number])
        before, self._counted[number] = self._counted[number], count
        if count == before + sent:
            return set()
        return {item.batch.id for item in accepted if not self._holds_vectors_of(number, item)}

    def _holds_vectors_of(self, number: int, accepted: Accepted) -> bool:
        expected = {
            accepted.record_ids[item.document.key]: scores[0]
            for item in accepted.rows
            if (scores := item.scores[number]) is not None
        }
        return self._holds(number, accepted.batch.id, expected)

    def _without_records(self, accepted: Sequence[Accepted]) -> set[str]:
        """Among the batches with rows that no vectors call has vouched for, those that are not counted whole."""
        bare = {item.batch.id: len(item.rows) for item in accepted if _has_bare_rows(item)}
        if not bare:
            return set()
        counts = self._ask(lambda: self._wire.count_by(self._to.label, "byovBatch", list(bare)))
        return {batch for batch, rows in bare.items() if counts.get(batch, 0) != rows}

    def _count(self, index: Index) -> int:
        return self._ask(lambda: self._wire.count_vectors(index))

    def _scores(self, number: int, batch: str, rows: int) -> dict[str, float]:
        """Record id -> score against the first probe, of a batch's records that carry a vector."""
        index, probe = self._to.indexes[number], self._to.probes[number][0]
        where = {"byovBatch": batch}
        found = self._ask(lambda: self._wire.search(index, probe, where=where, limit=rows + FIND_ROWS))
        return {record.record_id: record.score for record in found if record.score is not None}

    def look_for(self, batch: str) -> dict[str, str]:
        """Key -> record id of the records of a batch that are stored. A second copy of a key is removed."""
        found: dict[str, str] = {}
        copies: list[str] = []
        for record in self._records_of(batch):
            if record.key in found:
                copies.append(record.record_id)
            found.setdefault(record.key, record.record_id)
        if copies:
            self.discard(copies)
        return found

    def _records_of(self, batch: str) -> Iterator[Stored]:
        seen = 0
        while True:
            page, total = self._ask(partial(self._page_of, batch, seen))
            yield from page
            seen += len(page)
            if not page or seen >= total:
                return

    def _page_of(self, batch: str, skip: int) -> tuple[list[Stored], int]:
        return self._wire.find(self._to.label, {"byovBatch": batch}, limit=FIND_ROWS, skip=skip)

    def holds_vectors(self, batch: str, scores: Sequence[Mapping[str, float]]) -> bool:
        """Whether every vector of a batch is stored as it was sent.

        scores: for each index, record id -> score against the first probe.
        """
        return all(self._holds(number, batch, expected) for number, expected in enumerate(scores))

    def _holds(self, number: int, batch: str, expected: Mapping[str, float]) -> bool:
        if not expected:
            return True
        stored = self._scores(number, batch, len(expected))
        return all(
            record_id in stored and abs(stored[record_id] - score) <= SCORE_TOLERANCE
            for record_id, score in expected.items()
        )

    def discard(self, record_ids: Sequence[str]) -> None:
        """Remove records of ours that were never confirmed, and see that they are gone: an answer proves nothing."""
        for start in range(0, len(record_ids), FIND_ROWS):
            self._ask(partial(_repeatable, partial(self._discard, record_ids[start : start + FIND_ROWS])))

    def _discard(self, record_ids: Sequence[str]) -> None:
        self._wire.delete(self._to.label, record_ids)
        _, left = self._wire.find(self._to.label, {"$id": {"$in": list(record_ids)}}, limit=1)
        if left:
            raise Ambiguous(f"target still holds {left} of {len(record_ids)} records it was to delete")


def _has_bare_rows(accepted: Accepted) -> bool:
    return any(all(vector is None for vector in item.vectors) for item in accepted.rows)


def _repeatable(action: Callable[[], None]) -> None:
    """Run an action that may be repeated whatever became of it."""
    try:
        action()
    except Ambiguous as error:
        raise Retriable(str(error)) from error


def _halves(vectors: Mapping[str, Vector]) -> Iterable[dict[str, Vector]]:
    items = list(vectors.items())
    middle = len(items) // 2
    return dict(items[:middle]), dict(items[middle:])


def _reject(item: Embedded, code: str, reason: str) -> Rejected:
    return Rejected(item.document.key, item.document.position, "write", code, reason)
