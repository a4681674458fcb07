"""A stored range read to its end, whatever happens to the connection meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from byov_migrate.errors import Retriable, Unavailable
from byov_migrate.records import KeyRange, Page
from byov_migrate.source import TableReader
from byov_migrate.target.retry import Patience, full_jitter

ATTEMPTS = 8
"""Failures in a row, about a minute of waiting: a server that restarts or a standby that cancels is back by then."""


def range_pages(reader: TableReader, key_range: KeyRange, page_rows: int, patience: Patience) -> Iterator[Page]:
    """The pages of a range; a lost connection or a cancelled query repeats one page, not the run.

    Raise Unavailable when the source stays away.
    """
    failures = 0
    while True:
        try:
            for page in reader.pages(key_range, page_rows):
                failures = 0
                yield page
                if page.position is not None:
                    key_range = replace(key_range, position=page.position.upto)
        except (Retriable, Unavailable) as error:
            failures += 1
            if failures >= ATTEMPTS:
                raise Unavailable(f"{error}, {failures} times in a row") from error
            patience.pause(str(error), full_jitter(failures, patience.draw()))
        else:
            return
