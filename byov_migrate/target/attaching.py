"""Vectors to records that exist."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from byov_migrate.errors import Ambiguous, RowRefused, TooLarge
from byov_migrate.records import Vector
from byov_migrate.target.asking import Asker
from byov_migrate.target.wire import Index, Wire


class Attacher:
    """Attaches vectors, and remembers which calls may still be running although they were answered at the second try.

    Such a call does no harm to the record it was meant for, but it would put an old vector on one that is rewritten
    meanwhile, and nothing would ever count a difference.
    """

    def __init__(self, wire: Wire, asker: Asker) -> None:
        self._wire = wire
        self._asker = asker
        self._deadlines: dict[str, float] = {}
        self._lock = threading.Lock()

    def attach(self, index: Index, vectors: Mapping[str, Vector]) -> None:
        """Attach vectors by record id; setting the same ones twice does no harm, so a lost answer is asked again.

        Raise Ambiguous when the target does not know one of the records.
        """
        if not vectors:
            return
        try:
            self._asker.repeat(lambda: self._wire.attach(index, vectors), lambda: self._remember(vectors))
        except TooLarge:
            if len(vectors) == 1:
                raise
            for half in _halves(vectors):
                self.attach(index, half)
        except RowRefused as error:
            # Vectors were checked before; what is left is that the records are not there: their write was lost.
            raise Ambiguous(f"target does not know records it has just named ({error})") from error

    def outlast(self, record_ids: Collection[str] | None = None) -> None:
        """Wait until no lost vectors call to these records (None: to any) can still be running."""
        with self._lock:
            chosen = self._deadlines if record_ids is None else self._deadlines.keys() & record_ids
            latest = max((self._deadlines[record_id] for record_id in chosen), default=0.0)
        self._asker.wait_until(latest, "a vectors call without an answer may still be running")

    def remaining_s(self) -> float:
        """How long a lost vectors call can still be running."""
        with self._lock:
            latest = max(self._deadlines.values(), default=0.0)
        return self._asker.until(latest)

    def _remember(self, record_ids: Collection[str]) -> None:
        with self._lock:
            self._deadlines.update(dict.fromkeys(record_ids, self._asker.deadline()))


def _halves(vectors: Mapping[str, Vector]) -> tuple[dict[str, Vector], dict[str, Vector]]:
    items = list(vectors.items())
    middle = len(items) // 2
    return dict(items[:middle]), dict(items[middle:])
