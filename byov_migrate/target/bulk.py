"""Many rows in one request, all or none: in portions, halved when they are too large or when one of them is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from byov_migrate.errors import Ambiguous, RowRefused, TooLarge
from byov_migrate.records import Embedded, Rejected
from byov_migrate.target.asking import Asker

MOST_ROWS = 1000
"""Above this RushDB does not say which records it made."""
SendRows: TypeAlias = Callable[[Sequence[Embedded]], dict[str, str]]
"""One request; key -> record id of those the answer names."""


class BulkWriter:
    """Writes rows by one kind of request and learns how many of them fit. Used from several threads."""

    def __init__(self, asker: Asker, send: SendRows, most: int = MOST_ROWS) -> None:
        self._asker = asker
        self._send = send
        self._limit = most

    def write(self, rows: Sequence[Embedded], record_ids: dict[str, str]) -> list[Rejected]:
        """Write rows, adding their ids to `record_ids`; return those that are refused even alone.

        Raise Ambiguous when an answer is lost or names another number of records.
        """
        rejected = []
        for part in self._portions(rows):
            rejected += self._write(part, record_ids)
        return rejected

    def _portions(self, rows: Sequence[Embedded]) -> Iterator[Sequence[Embedded]]:
        start = 0
        while start < len(rows):
            limit = self._limit  # another thread may have lowered it meanwhile
            yield rows[start : start + limit]
            start += limit

    def _write(self, rows: Sequence[Embedded], record_ids: dict[str, str]) -> list[Rejected]:
        try:
            made = self._asker.ask(lambda: self._send(rows))
        except TooLarge as error:
            if len(rows) == 1:
                return [rejected(rows[0], error)]
            self._limit = max(1, min(self._limit, len(rows) // 2))
        except RowRefused as error:
            if len(rows) == 1:
                return [rejected(rows[0], error)]
        else:
            if len(made) != len(rows):
                raise Ambiguous(f"target named {len(made)} of {len(rows)} records it was to write")
            record_ids.update(made)
            return []
        middle = len(rows) // 2
        return self._write(rows[:middle], record_ids) + self._write(rows[middle:], record_ids)


def rejected(item: Embedded, error: TooLarge | RowRefused) -> Rejected:
    """A row that the server does not take although it was sent alone."""
    if isinstance(error, TooLarge):
        return write_reject(item, "too-large", str(error))
    return write_reject(item, error.code, "RushDB refuses this row when it is sent alone")


def write_reject(item: Embedded, code: str, reason: str) -> Rejected:
    """A row that was read and embedded and could not be written."""
    return Rejected(item.document.key, item.document.position, "write", code, reason)
