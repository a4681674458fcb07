"""What an answer does not prove. Asks the target what it holds of the batches that it accepted.

Records first: a vectors call that was accepted proves that a new record was committed, everything else is counted by
batch, since a batch's name is in a record only if the write that carried it was committed, and with it the erasing of
the record's vectors. Then vectors: the index must hold as many more as were attached, less those that were erased.
Where that does not fit, each batch is asked for by an exact search whose scores must be those of the vectors sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from byov_migrate.digests import SCORE_TOLERANCE
from byov_migrate.target.asking import Asker
from byov_migrate.target.destination import Accepted, Destination
from byov_migrate.target.wire import Index, Where, Wire

SPARE_HITS = 1000
"""Asked for beyond a batch's rows, so that copies cannot crowd out what is looked for."""


class Proof:
    """Proves the batches of one label, from one thread."""

    def __init__(self, wire: Wire, to: Destination, asker: Asker) -> None:
        self._wire = wire
        self._to = to
        self._asker = asker
        self._base = [0] * len(to.indexes)
        self._latest = [0] * len(to.indexes)

    def begin(self) -> None:
        """Take the indexes' counts as the base of later proofs."""
        self._latest = [self._count(index) for index in self._to.indexes]
        self.settle()

    def settle(self) -> None:
        """Everything is proved: the latest counts are the base of the next proof."""
        self._base = list(self._latest)

    def doubtful(self, accepted: Sequence[Accepted]) -> set[str]:
        """Ids of the batches that are not proved to be stored whole.

        The base stays until `settle`: where as many vectors are erased as attached, a count that has not moved since
        the last look would otherwise pass for a proof.
        """
        doubtful = self._without_records(accepted)
        for number in range(len(self._to.indexes)):
            doubtful |= self._without_vectors(number, accepted)
        return doubtful

    def _without_records(self, accepted: Sequence[Accepted]) -> set[str]:
        """Batches whose records have to be counted and are not there whole."""
        rows = {item.batch.id: len(item.rows) for item in accepted if item.unvouched and item.rows}
        if not rows:
            return set()
        counts = self._asker.ask(lambda: self._wire.count_by(self._to.label, "byovBatch", list(rows)))
        return {batch for batch, expected in rows.items() if counts.get(batch, 0) != expected}

    def _without_vectors(self, number: int, accepted: Sequence[Accepted]) -> set[str]:
        attached = [len(item.attached(number)) for item in accepted]
        carried = [item.carried(number) for item in accepted]
        if not any(attached) and not any(count != 0 for count in carried):
            return set()
        self._latest[number] = self._count(self._to.indexes[number])
        erased = [count for count in carried if count is not None]
        is_known = len(erased) == len(carried)
        if is_known and self._latest[number] == self._base[number] + sum(attached) - sum(erased):
            return set()
        return {item.batch.id for item in accepted if not self._holds_vectors_of(number, item)}

    def _holds_vectors_of(self, number: int, accepted: Accepted) -> bool:
        expected = {
            accepted.record_ids[item.document.key]: scores[0]
            for item in accepted.attached(number)
            if (scores := item.scores[number]) is not None
        }
        return self.holds(number, _place_of(accepted), expected)

    def holds(self, number: int, where: Where, expected: Mapping[str, float]) -> bool:
        """Whether these records, all of them in `where`, carry vectors with these scores against the first probe."""
        if not expected:
            return True
        stored = self._scores(number, where, len(expected))
        return all(
            record_id in stored and abs(stored[record_id] - score) <= SCORE_TOLERANCE
            for record_id, score in expected.items()
        )

    def _scores(self, number: int, where: Where, rows: int) -> dict[str, float]:
        """Record id -> score against the first probe, of these records if they carry a vector."""
        index, probe = self._to.indexes[number], self._to.probes[number][0]
        found = self._asker.ask(lambda: self._wire.search(index, probe, where=where, limit=rows + SPARE_HITS))
        return {record.record_id: record.score for record in found if record.score is not None}

    def _count(self, index: Index) -> int:
        return self._asker.ask(lambda: self._wire.count_vectors(index))


def of_batch(batch: str) -> Where:
    """The records that a batch wrote."""
    return {"byovBatch": batch}


def of_keys(keys: Iterable[str]) -> Where:
    """The records of these keys, whatever wrote them."""
    return {"byovKey": {"$in": list(keys)}}


def _place_of(accepted: Accepted) -> Where:
    """What attaches to records leaves no name in them."""
    if accepted.batch.way == "attach":
        return of_keys(item.document.key for item in accepted.rows)
    return of_batch(accepted.batch.id)
