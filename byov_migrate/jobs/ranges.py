"""Rows read to the end, whatever happens to the connection meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TypeVar

from byov_migrate.errors import MigrationError, Retriable, Unavailable
from byov_migrate.records import KeyRange, KeyText, Page
from byov_migrate.source import TableReader
from byov_migrate.target.retry import Patience, full_jitter

T = TypeVar("T")
PAGE_ROWS_READY = 1000
PAGE_ROWS_EMBEDDED = 250
"""Rows that are embedded together: enough to sort by length, few enough to settle within a stop's grace on a CPU, and
a part of a full batch."""
ATTEMPTS = 8
"""Failures in a row, about a minute of waiting: a server that restarts or a standby that cancels is back by then."""


def page_rows_for(*, embeds: bool) -> int:
    """Rows a page, for a table that a model embeds, or whose vectors are there."""
    return PAGE_ROWS_EMBEDDED if embeds else PAGE_ROWS_READY


class Persistence:
    """Reads again after a lost connection or a cancelled query, up to a number of failures in a row."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._failures = 0

    def succeeded(self) -> None:
        """Something was read."""
        self._failures = 0

    def failed(self, error: MigrationError) -> None:
        """Wait before the next try. Raise Unavailable when the source stays away."""
        self._failures += 1
        if self._failures >= ATTEMPTS:
            raise Unavailable(f"{error}, {self._failures} times in a row") from error
        self._patience.pause(str(error), full_jitter(self._failures, self._patience.draw()))


def again_and_again(action: Callable[[], T], patience: Patience) -> T:
    """What an action reads, whatever happens to the connection meanwhile. Raise Unavailable when it stays away."""
    persistence = Persistence(patience)
    while True:
        try:
            return action()
        except (Retriable, Unavailable) as error:
            persistence.failed(error)


def range_pages(reader: TableReader, key_range: KeyRange, page_rows: int, patience: Patience) -> Iterator[Page]:
    """The pages of a range; a lost connection or a cancelled query repeats one page, not the run.

    Raise Unavailable when the source stays away.
    """
    persistence = Persistence(patience)
    while True:
        try:
            for page in reader.pages(key_range, page_rows):
                persistence.succeeded()
                yield page
                if page.position is not None:
                    key_range = replace(key_range, position=page.position.upto)
        except (Retriable, Unavailable) as error:
            persistence.failed(error)
        else:
            return


def whole_table(reader: TableReader, page_rows: int, patience: Patience) -> Iterator[Page]:
    """Every row in key order; the pages move no position."""
    for page in range_pages(reader, KeyRange(0, None, None), page_rows, patience):
        yield replace(page, position=None)


def pages_of(reader: TableReader, positions: Iterable[KeyText], page_rows: int, patience: Patience) -> Iterator[Page]:
    """The rows of these keys; the pages move no position. Keys without a row are left out."""
    rest = iter(positions)
    while some := list(islice(rest, page_rows)):
        yield Page(tuple(again_and_again(partial(reader.rows, some), patience)), None)
