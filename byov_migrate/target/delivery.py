"""Batches to RushDB, and the proof that they arrived. The only module that makes a Receipt.

    send     write the records, attach the vectors: *accepted*. An answer proves nothing; a lost one even less.
    confirm  ask RushDB what it holds: *stored*, a Receipt. What proves what is said in `proof.py`.

After an answer that was lost the same batch is never sent again before the server's request budget has passed and the
batch has been looked for: the first request may still be running. It would double what is created, and erase the
vectors of what is rewritten.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from byov_migrate.errors import Ambiguous, Unavailable
from byov_migrate.records import Batch, Embedded, Receipt, Rejected
from byov_migrate.target.asking import Asker
from byov_migrate.target.attaching import Attacher
from byov_migrate.target.bulk import BulkWriter, write_reject
from byov_migrate.target.destination import Accepted, Destination, WriteMode, is_made_anew
from byov_migrate.target.linking import Linker
from byov_migrate.target.looking import Lookout
from byov_migrate.target.pace import Pace
from byov_migrate.target.proof import Proof
from byov_migrate.target.retry import Patience
from byov_migrate.target.updating import Updater, whole_body
from byov_migrate.target.wire import Outbound, Stored, Where, Wire

__all__ = ["Accepted", "Delivery", "Destination", "WriteMode"]

LOOK_TIMES = 5
"""How often a batch whose answers were lost is looked for and sent again without getting on; then the run gives up."""


class Delivery:
    """Sends and confirms the batches of one label. `send` may be called from several threads, `confirm` from one.

    A key is in one unconfirmed batch at most.
    """

    def __init__(
        self, wire: Wire, destination: Destination, patience: Patience, *, request_budget_s: float, writers: int = 1
    ) -> None:
        self._wire = wire
        self._to = destination
        self._asker = Asker(patience, Pace(writers), request_budget_s)
        self._lookout = Lookout(wire, self._asker, destination.label)
        self._attacher = Attacher(wire, self._asker)
        self._creator = BulkWriter(self._asker, self._create)
        self._updater = Updater(wire, destination, self._asker, self._creator, self._attacher)
        self._linker = Linker(wire, self._asker)
        self._proof = Proof(wire, destination, self._asker)

    def send(self, batch: Batch) -> Accepted:
        """Write the batch's records and attach their vectors; rows the server refuses come back as rejects.

        Raise Unavailable when the target stays away, Interrupted when a signal ended a wait.
        """
        return self._attach_to_records(batch) if batch.way == "attach" else self._send_rest(batch, {})

    def _attach_to_records(self, batch: Batch) -> Accepted:
        """Vectors for records that stay as they are; one that has gone meanwhile is made anew by the next sync."""
        accepted = Accepted(
            batch, {item.document.key: item.document.known.record_id for item in batch.rows if item.document.known}
        )
        for _ in range(LOOK_TIMES):
            try:
                self._attach_all(accepted)
            except Ambiguous:  # one of the records is not there, and the whole call was refused
                accepted = self._without_gone(accepted)
            else:
                return accepted
        raise Unavailable(f"target does not take vectors for records of {self._to.label} that it shows")

    def _without_gone(self, accepted: Accepted) -> Accepted:
        present = self.fetch(list(accepted.record_ids.values()))
        gone = [item for item in accepted.rows if accepted.record_ids[item.document.key] not in present]
        reason = "its record was deleted in RushDB before the vector came; the next sync writes it anew"
        rejects = [write_reject(item, "record-gone", reason) for item in gone]
        ids = {key: record_id for key, record_id in accepted.record_ids.items() if record_id in present}
        return Accepted(accepted.batch, ids, (*accepted.rejected, *rejects))

    def _attach_all(self, accepted: Accepted) -> None:
        for number, index in enumerate(self._to.indexes):
            self._attacher.attach(index, accepted.vectors(number))

    def _send_rest(self, batch: Batch, found: Mapping[str, str]) -> Accepted:
        """Send what is not among the records found."""
        tries = 0
        while tries < LOOK_TIMES:
            try:
                return self._send_once(batch, found)
            except Ambiguous as error:
                self._asker.outlast(f"{error}; waiting for the request to end before looking")
            before, found = len(found), self._look(batch)
            tries = 0 if len(found) > before else tries + 1
        raise Unavailable(f"target lost the answer to the same batch {LOOK_TIMES} times")

    def _look(self, batch: Batch) -> dict[str, str]:
        return self.look_for(batch.id, [item.document.known.record_id for item in batch.rows if item.document.known])

    def _send_once(self, batch: Batch, found: Mapping[str, str]) -> Accepted:
        record_ids = dict(found)
        missing = [item for item in batch.rows if item.document.key not in record_ids]
        rejected = self._write(batch, missing, record_ids)
        accepted = Accepted(batch, record_ids, tuple(rejected))
        if batch.way != "create" or self._to.mode == "two-call" or found:
            self._attach_all(accepted)
        return accepted

    def _write(self, batch: Batch, rows: Sequence[Embedded], record_ids: dict[str, str]) -> list[Rejected]:
        if batch.way == "create":
            return self._creator.write(rows, record_ids)
        self._loosen(rows)
        if batch.way == "rewrite":
            return self._updater.rewrite(rows, record_ids)
        return self._updater.append(rows, record_ids) + self._withdraw_incomplete(batch, record_ids)

    def _loosen(self, rows: Sequence[Embedded]) -> None:
        """Remove links that would be out of date, by the keys that the records still hold."""
        for place in self._to.links:
            known = [item.document.known for item in rows if place.type in item.document.loosened]
            self._linker.part(place, [record.record_id for record in known if record is not None])

    def _create(self, rows: Sequence[Embedded]) -> dict[str, str]:
        return self._wire.create(self._to.label, [self._outbound(item) for item in rows])

    def _outbound(self, item: Embedded) -> Outbound:
        properties = whole_body(item)
        if self._to.mode == "two-call":
            return Outbound(item.document.key, properties)
        names = (index.property_name for index in self._to.indexes)
        vectors = {name: vector for name, vector in zip(names, item.vectors, strict=True) if vector is not None}
        return Outbound(item.document.key, properties, vectors)

    def _withdraw_incomplete(self, batch: Batch, record_ids: dict[str, str]) -> list[Rejected]:
        """Remove what appending made anew and nobody has the vector for: a whole record is better made next time."""
        stored = [item for item in batch.rows if item.document.key in record_ids]
        lacking = [item for item in stored if is_made_anew(item, record_ids) and _lacks_a_vector(item)]
        self.discard([record_ids.pop(item.document.key) for item in lacking])
        reason = "its record was deleted in RushDB while it was updated; the next sync writes it anew"
        return [write_reject(item, "record-gone", reason) for item in lacking]

    def begin_counting(self) -> None:
        """Take the indexes' counts as the base of later proofs; nothing of ours may be in flight.

        To be called again after `discard`: otherwise the next proof does without counts, which takes longer.
        """
        self._proof.begin()

    def confirm(self, accepted: Sequence[Accepted]) -> list[Receipt]:
        """Receipts for all of these batches; what was lost is sent again until it is stored.

        None of our vectors calls may be in flight.
        """
        for _ in range(LOOK_TIMES):
            doubtful = self._proof.doubtful(accepted)
            if not doubtful:
                self._proof.settle()
                return [Receipt(item.batch, item.record_ids) for item in accepted]
            self._asker.outlast("target does not hold what it accepted; looking again")
            accepted = [self._send_again(item) if item.batch.id in doubtful else item for item in accepted]
        raise Unavailable(f"target accepts records of {self._to.label} and does not keep them")

    def _send_again(self, accepted: Accepted) -> Accepted:
        if accepted.batch.way == "attach":
            return self._attach_to_records(accepted.batch)
        return self._send_rest(accepted.batch, self._look(accepted.batch))

    def look_for(self, batch: str, keep: Collection[str] = ()) -> dict[str, str]:
        """Key -> record id of the records of a batch that are stored. A second copy of a key is removed.

        keep: record ids that are no copies, whatever else is there.
        """
        return self._lookout.by_batch(batch, keep)

    def holds_vectors(self, where: Where, scores: Sequence[Mapping[str, float]]) -> bool:
        """Whether every one of these vectors is stored as it was sent. where: `of_batch` or `of_keys`.

        scores: for each index, record id -> score against the first probe.
        """
        return all(self._proof.holds(number, where, expected) for number, expected in enumerate(scores))

    def fetch(self, record_ids: Sequence[str]) -> dict[str, Stored]:
        """Record id -> record as it is stored; records that are gone are absent. At most 1,000 a request."""
        return self._lookout.by_id(record_ids)

    def discard(self, record_ids: Sequence[str]) -> None:
        """Remove records of ours and see that they are gone: an answer proves nothing. At most 1,000 a request."""
        self._lookout.discard(record_ids)

    def late_s(self) -> float:
        """How long a lost vectors call of ours can still be running, though one after it was answered."""
        return self._attacher.remaining_s()

    def wait_until_quiet(self) -> None:
        """Wait until no vectors call of ours can still be running: at a run's end, before another may rewrite."""
        self._attacher.outlast()


def _lacks_a_vector(item: Embedded) -> bool:
    marks = zip(item.document.text_hashes, item.vectors, strict=True)
    return any(text is not None and vector is None for text, vector in marks)
