"""What the target really holds, asked by id or by batch, and the removal of records until they are gone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial

from byov_migrate.errors import Ambiguous, Retriable, TooLarge
from byov_migrate.target.asking import Asker
from byov_migrate.target.wire import Stored, Wire

FIND_ROWS = 1000


class Lookout:
    """Looks at the records of one label."""

    def __init__(self, wire: Wire, asker: Asker, label: str) -> None:
        self._wire = wire
        self._asker = asker
        self._label = label

    def by_batch(self, batch: str, keep: Collection[str] = ()) -> dict[str, str]:
        """Key -> record id of the records of a batch. Second copies of a key are removed, those in `keep` last."""
        found: dict[str, str] = {}
        copies: list[str] = []
        for record in sorted(self._of_batch(batch), key=lambda record: record.record_id not in keep):
            if record.key in found:
                copies.append(record.record_id)
            found.setdefault(record.key, record.record_id)
        if copies:
            self.discard(copies)
        return found

    def _of_batch(self, batch: str) -> Iterator[Stored]:
        seen = 0
        while True:
            page, total = self._asker.ask(partial(self._page, batch, seen))
            yield from page
            seen += len(page)
            if not page or seen >= total:
                return

    def _page(self, batch: str, skip: int) -> tuple[list[Stored], int]:
        return self._wire.find(self._label, {"byovBatch": batch}, limit=FIND_ROWS, skip=skip)

    def by_id(self, record_ids: Sequence[str]) -> dict[str, Stored]:
        """Record id -> record; those that are gone are absent. Asks for at most 1,000 at a time."""
        found: dict[str, Stored] = {}
        for start in range(0, len(record_ids), FIND_ROWS):
            some = record_ids[start : start + FIND_ROWS]
            found |= {record.record_id: record for record in self._asker.ask(partial(self._some, some))}
        return found

    def _some(self, record_ids: Sequence[str]) -> list[Stored]:
        found, total = self._wire.find(self._label, _these(record_ids), limit=FIND_ROWS)
        if len(found) != total:
            raise Retriable(f"target counts {total} records and shows {len(found)}")
        return found

    def count(self, record_ids: Sequence[str]) -> int:
        """How many of these records are there; at most 1,000 of them."""
        return self._asker.ask(lambda: self._wire.find(self._label, _these(record_ids), limit=1))[1]

    def discard(self, record_ids: Sequence[str]) -> None:
        """Remove records and see that they are gone: an answer proves nothing. At most 1,000 a request."""
        for start in range(0, len(record_ids), FIND_ROWS):
            self._discard(record_ids[start : start + FIND_ROWS])

    def _discard(self, record_ids: Sequence[str]) -> None:
        try:
            self._asker.repeat(lambda: self._remove(record_ids))
        except TooLarge:
            if len(record_ids) == 1:
                raise
            # The server speaks of a roll-back, but part of them is gone: halves find what is left.
            middle = len(record_ids) // 2
            self._discard(record_ids[:middle])
            self._discard(record_ids[middle:])

    def _remove(self, record_ids: Sequence[str]) -> None:
        self._wire.delete(self._label, record_ids)
        _, left = self._wire.find(self._label, _these(record_ids), limit=1)
        if left:
            raise Ambiguous(f"target still holds {left} of {len(record_ids)} records it was to delete")


def _these(record_ids: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    return {"$id": {"$in": list(record_ids)}}
