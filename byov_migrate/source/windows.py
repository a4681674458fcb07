"""Arithmetic of transaction ids and WAL positions: plain numbers in and out, nothing is asked of a server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

ID_SPACE: Final = 2**32
"""A row keeps the low 32 bits of its transaction's id; a snapshot's text has all 64."""

_SNAPSHOT = re.compile(r"(\d+):(\d+):[\d,]*")
_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_PAGE_HEADER_BYTES: Final = 24
_SEGMENT_HEADER_BYTES: Final = 40


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every transaction below `lowest` had ended; none at or above `next` had."""

    lowest: int
    next: int


@dataclass(frozen=True, slots=True)
class Window:
    """The transactions whose rows may be new: `width` + 1 ids from `start` on, `start` being the low 32 bits."""

    start: int
    width: int

    def holds(self, xmin: int) -> bool:
        """Whether a row with this `xmin` may be new; the same arithmetic as the SQL of `changes`."""
        return (xmin - self.start) & (ID_SPACE - 1) <= self.width


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why no window leads from one snapshot to another."""

    reason: str


def parse_snapshot(text: str) -> Snapshot:
    """What `pg_current_snapshot()` wrote. Raise ValueError for anything else."""
    found = _SNAPSHOT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no snapshot")
    return Snapshot(int(found[1]), int(found[2]))


def window_between(since: str, now: str) -> Window | Unusable:
    """The window from one snapshot's text to a later one's.

    What the first did not see has an id at or above its `lowest`; what the second sees is below its `next`.
    """
    lowest, next_ = parse_snapshot(since).lowest, parse_snapshot(now).next
    if next_ < lowest:
        return Unusable("the source has used fewer transaction ids than when it was last read: it went back")
    if next_ - lowest >= ID_SPACE:
        return Unusable("more than 2^32 transactions have passed, so the ids in the rows say nothing any more")
    return Window(lowest % ID_SPACE, next_ - lowest)


def parse_lsn(text: str) -> int:
    """A `pg_lsn` as bytes from the beginning of the WAL. Raise ValueError for anything else."""
    found = _LSN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no WAL position")
    return int(found[1], 16) << 32 | int(found[2], 16)


def format_lsn(position: int) -> str:
    """As PostgreSQL writes a `pg_lsn`."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def end_of_last_record(position: int, page_bytes: int) -> int:
    """Where the last WAL record before an insert position ended.

    At a page's beginning PostgreSQL names the place behind the page's header, which no replica reaches before the
    next record is written: on an idle server, never.
    """
    behind = position % page_bytes
    return position - behind if behind in (_PAGE_HEADER_BYTES, _SEGMENT_HEADER_BYTES) else position
