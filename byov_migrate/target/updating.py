"""Rows written over records that exist. A record keeps its id and its links, whatever is written.

append   by key, several writers: properties are laid over the record, its vectors stay
rewrite  in place of all that a record held, one writer: its vectors are erased in the same transaction, so that a
         vectors call that is lost afterwards is a vector missing in the count, never an old one taken for the new
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from byov_migrate.errors import Ambiguous, Retriable, RowRefused, TooLarge
from byov_migrate.records import Embedded, Outgoing, Rejected
from byov_migrate.target.asking import Asker
from byov_migrate.target.attaching import Attacher
from byov_migrate.target.bulk import BulkWriter, rejected
from byov_migrate.target.destination import Destination
from byov_migrate.target.wire import Outbound, Wire

CLEARED_ROWS = 500
"""A tenth as fast as a create: 8 s seen on a busy server, whose requests end after 55 s."""
LOST_IN_A_ROW = 3
"""So many answers lost one after another, and the rest of the rows is not tried before the target was looked at."""


class Updater:
    """Writes rows over records of one label. `creator` writes those whose record is gone."""

    def __init__(
        self,
        wire: Wire,
        to: Destination,
        asker: Asker,
        creator: BulkWriter,
        attacher: Attacher,
    ) -> None:
        self._wire = wire
        self._to = to
        self._asker = asker
        self._creator = creator
        self._attacher = attacher
        self._appending = BulkWriter(asker, lambda rows: self._merge(rows, clear=False))
        self._clearing = BulkWriter(asker, lambda rows: self._merge(rows, clear=True), CLEARED_ROWS)
        self._one_writer = threading.Lock()  # two at once deadlock in the server

    def append(self, rows: Sequence[Embedded], record_ids: dict[str, str]) -> list[Rejected]:
        """Lay rows over their records, adding the ids; a record that is gone is made anew, without vectors.

        Only where keys are unique: two of these at once would create a record that is gone twice. Raise Ambiguous when
        an answer is lost.
        """
        return self._appending.write(rows, record_ids)

    def rewrite(self, rows: Sequence[Embedded], record_ids: dict[str, str]) -> list[Rejected]:
        """Put rows in place of all that their records held, adding the ids; vectors are erased.

        Raise Ambiguous when an answer is lost: the request may still be running, and would erase vectors that are
        attached meanwhile.
        """
        with self._one_writer:
            self._attacher.outlast({item.document.known.record_id for item in rows if item.document.known})
            if self._to.unique():
                return self._clearing.write(rows, record_ids)
            return self._replace_all(rows, record_ids)

    def _merge(self, rows: Sequence[Embedded], *, clear: bool) -> dict[str, str]:
        outbound = [
            Outbound(item.document.key, whole_body(item) if clear else item.document.properties) for item in rows
        ]
        return self._wire.merge(self._to.label, outbound, clear=clear)

    def _replace_all(self, rows: Sequence[Embedded], record_ids: dict[str, str]) -> list[Rejected]:
        refused: list[Rejected] = []
        gone: list[Embedded] = []
        lost = lost_in_a_row = 0
        for item in rows:
            try:
                if not self._replace(item, record_ids):
                    gone.append(item)
                lost_in_a_row = 0
            except (TooLarge, RowRefused) as error:
                refused.append(rejected(item, error))
            except Ambiguous:
                lost, lost_in_a_row = lost + 1, lost_in_a_row + 1
                if lost_in_a_row == LOST_IN_A_ROW:
                    raise
        if lost:
            raise Ambiguous(f"target gave no usable answer to {lost} of {len(rows)} rewritten rows")
        return refused + self._creator.write(gone, record_ids)

    def _replace(self, item: Embedded, record_ids: dict[str, str]) -> bool:
        """Whether there was a record to replace."""
        known = item.document.known
        if known is None or not self._asker.ask(lambda: self._replaced(known.record_id, whole_body(item))):
            return False
        record_ids[item.document.key] = known.record_id
        return True

    def _replaced(self, record_id: str, properties: Mapping[str, Outgoing]) -> bool:
        if self._wire.replace(self._to.label, record_id, properties):
            return True
        if self._wire.find(self._to.label, {"$id": {"$in": [record_id]}}, limit=1)[1]:
            raise Retriable("target does not know a record that it shows")  # creating it anew would double the row
        return False


def whole_body(item: Embedded) -> dict[str, Outgoing]:
    """All properties of a rewritten record: what the row says, and what an application had added."""
    known = item.document.known
    return {**(known.kept if known else {}), **item.document.properties}
