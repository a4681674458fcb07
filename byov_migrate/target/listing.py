"""Every record of ours of one label, with the scores of its vectors against the probes, in chunks of even slices.

One exact search a probe answers for a whole chunk, properties included. It costs a scan of the label however small the
chunk is, so chunks are as large as the server's time and the size of the reply allow. Records without a vector are not
in its answer and are listed.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

import numpy as np
import orjson

from byov_migrate.digests import SLICES
from byov_migrate.records import Vector
from byov_migrate.target.retry import Patience
from byov_migrate.target.wire import Index, Stored, Where, Wire

FIND_ROWS = 1000
SPARE_HITS = 1000
"""Asked for beyond what was counted: records may be added meanwhile."""
FIRST_ROWS = 36_000
SLOW_S = 20.0
LARGE_BYTES = 28 * 1024 * 1024
"""A reply takes eight times its size in memory while it is read: 330 MB of 50,000 records were seen."""
EVERY_KEY = {"byovKey": {"$exists": True}}
_SAMPLE = 50
_BYTES_AROUND = 200
"""Of a record in a reply: its id, label, score and the names of its properties' types."""

Scored: TypeAlias = tuple[str, str, tuple[float | None, ...]]
"""Key, record id, and a score a probe; None where that search did not find the record."""


class Sink(Protocol):
    """Takes what is listed. Records come before their scores; one may come more than once."""

    def records(self, found: Sequence[Stored]) -> None:
        """Some records."""

    def scores(self, number: int, found: Iterable[Scored]) -> None:
        """Records in an index, in order of their keys."""


@dataclass(frozen=True, slots=True)
class Effort:
    """What reading one chunk took."""

    seconds: float  # of the slowest search
    reply_bytes: int  # of the largest reply, near enough


def first_width(rows: int) -> int:
    """How many slices a label's first chunk takes; `rows` is how many records it has."""
    return max(1, min(len(SLICES), len(SLICES) * FIRST_ROWS // max(rows, 1)))


def next_width(width: int, effort: Effort) -> int:
    """How many slices the next chunk takes: up to twice as many while both limits leave room."""
    if effort.seconds >= 2 * SLOW_S:
        return max(1, width // 2)
    room = LARGE_BYTES / max(effort.reply_bytes, 1)
    if effort.seconds >= SLOW_S or room <= 1:
        return max(1, min(width, int(width * room)))
    return min(len(SLICES), max(1, int(width * min(2.0, room))))


@dataclass(frozen=True)
class Lister:
    """Reads one label. indexes: one an embedding, None where RushDB has none. probes: one an index, shape (3, d)."""

    wire: Wire
    patience: Patience
    label: str
    properties: tuple[str, ...]
    indexes: tuple[Index | None, ...]
    probes: tuple[Vector, ...]
    monotonic: Callable[[], float]

    def count(self, where: Where = EVERY_KEY) -> int:
        """How many records match; all of ours by default."""
        return self.patience.retry(lambda: self.wire.find(self.label, where, limit=1))[1]

    def read(self, slices: Sequence[str], sink: Sink) -> Effort:
        """All records of these slices. Raise TooLarge when that is too much for one search."""
        return self._read({"byovSlice": {"$in": list(slices)}}, sink, self._without_vectors(slices))

    def read_keys(self, keys: Sequence[str], sink: Sink) -> None:
        """All records of these keys, at most 1,000."""
        where = {"byovKey": {"$in": list(keys)}}
        self._read(where, sink, where)

    def read_strays(self, sink: Sink) -> None:
        """Records of ours whose slice is none."""
        astray = [{"byovSlice": {"$exists": False}}, {"byovSlice": {"$nin": list(SLICES)}}]
        where = {"$and": [EVERY_KEY, {"$or": astray}]}
        self._read(where, sink, where)

    def _without_vectors(self, slices: Sequence[str]) -> Where:
        absent = [{f"byovText_{name}": {"$exists": False}} for name in self.properties]
        return {"$and": [{"byovSlice": {"$in": list(slices)}}, *absent]}

    def _read(self, where: Where, sink: Sink, rest: Where) -> Effort:
        """Search, then list `rest`, then everything if that does not account for all. `rest` is part of `where`."""
        total = self.count(where)
        seen: set[str] = set()
        effort = self._search_all(where, total, sink, seen) if total else Effort(0.0, 0)
        for page in self._pages(rest) if total > len(seen) else ():
            _tell(sink, page, seen)
        if rest != where and len(seen) < total:
            for page in self._pages(where):
                _tell(sink, page, seen)
        return effort

    def _search_all(self, where: Where, total: int, sink: Sink, seen: set[str]) -> Effort:
        efforts = [
            effort
            for number, index in enumerate(self.indexes)
            if index is not None
            for effort in self._search_index(number, where, total, sink, seen)
        ]
        slowest_s = max((effort.seconds for effort in efforts), default=0.0)
        return Effort(slowest_s, max((effort.reply_bytes for effort in efforts), default=0))

    def _search_index(self, number: int, where: Where, total: int, sink: Sink, seen: set[str]) -> list[Effort]:
        """One index, a search a probe. What the first one finds is told, and all scores together."""
        found: list[tuple[str, str]] = []
        scores: list[list[float | None]] = []
        efforts = []
        for probe in range(len(self.probes[number])):
            with _uncollected():
                records, effort = self._timed(number, probe, where, total)
                if probe == 0:
                    records.sort(key=lambda record: record.key)
                    _tell(sink, records, seen)
                    found = [(record.key, record.record_id) for record in records]
                by_id = {record.record_id: record.score for record in records}
                del records  # one reply at a time
            scores.append([by_id.get(record_id) for _, record_id in found])
            efforts.append(effort)
        sink.scores(number, ((*names, one) for names, one in zip(found, zip(*scores, strict=True), strict=True)))
        return efforts

    def _timed(self, number: int, probe: int, where: Where, total: int) -> tuple[list[Stored], Effort]:
        began = self.monotonic()
        found = self.search(number, probe, where, total)
        return found, Effort(self.monotonic() - began, _reply_bytes(found))

    def search(self, number: int, probe: int, where: Where, total: int) -> list[Stored]:
        """All matching records in an index, with their scores against one probe; `total`: how many there may be."""
        index, direction = self.indexes[number], np.ascontiguousarray(self.probes[number][probe])
        if index is None:
            return []
        while True:
            limit = total + SPARE_HITS
            search = partial(self.wire.search, index, direction, where=where, limit=limit)
            found = self.patience.retry(search)
            if len(found) < limit:
                return found
            total = 2 * limit

    def _pages(self, where: Where) -> Iterator[list[Stored]]:
        skip = 0
        while True:
            page, total = self.patience.retry(partial(self.wire.find, self.label, where, limit=FIND_ROWS, skip=skip))
            yield page
            skip += len(page)
            if not page or skip >= total:
                return


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for cycles: a large reply holds none, and is gone through again and again while it is read.

    Once at the end: the reply's bytes do lie in one, of the HTTP client's, and several would be held at a time. Among
    the youngest objects, which are all since the beginning: the whole heap, with torch in it, takes half a second.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
        gc.collect(0)


def _tell(sink: Sink, found: Collection[Stored], seen: set[str]) -> None:
    new = [record for record in found if record.record_id not in seen]
    seen.update(record.record_id for record in new)
    if new:
        sink.records(new)


def _reply_bytes(found: Sequence[Stored]) -> int:
    """Near enough, from the first records: every property stands there twice, once with its type."""
    some = found[:_SAMPLE]
    if not some:
        return 0
    one = sum(2 * len(orjson.dumps(record.properties)) + _BYTES_AROUND for record in some) / len(some)
    return int(one * len(found))
