"""How large the chunks are in which a label is read, and what is done when an answer does not account for all."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import pytest

from byov_migrate.digests import SLICES
from byov_migrate.records import Vector
from byov_migrate.target.listing import LARGE_BYTES, SLOW_S, Effort, Lister, Scored, first_width, next_width
from byov_migrate.target.retry import Patience
from byov_migrate.target.wire import Index, Stored, Where, Wire

INDEX = Index("i", "Job", "description", 4, "cosine", "p")


@pytest.mark.parametrize(("rows", "width"), [(0, 256), (10, 256), (36_000, 256), (200_000, 46), (100_000_000, 1)])
def test_the_first_chunk_is_of_about_36000_rows(rows: int, width: int) -> None:
    """In slices, of which there are 256."""
    assert first_width(rows) == width


@pytest.mark.parametrize(
    ("effort", "width"),
    [
        (Effort(1.0, 1000), 128),
        (Effort(SLOW_S, 1000), 64),
        (Effort(2 * SLOW_S, 1000), 32),
        (Effort(1.0, LARGE_BYTES), 64),
        (Effort(1.0, LARGE_BYTES * 2), 32),
        (Effort(1.0, LARGE_BYTES * 2 // 3), 96),
        (Effort(1.0, 0), 128),
    ],
)
def test_chunks_grow_while_time_and_size_leave_room(effort: Effort, width: int) -> None:
    """At most twofold; they shrink where the last one was too much."""
    assert next_width(64, effort) == width


def test_a_chunk_is_never_less_than_a_slice_nor_more_than_all() -> None:
    """There is nothing smaller to ask for."""
    assert next_width(1, Effort(1000.0, LARGE_BYTES * 100)) == 1
    assert next_width(256, Effort(0.1, 10)) == len(SLICES)


@dataclass
class ScriptedWire:
    """Answers finds and searches from lists. answers: of one search after the other, in place of what is searchable."""

    all_records: list[Stored]
    searchable: set[str] = field(default_factory=set)
    answers: list[list[Stored]] = field(default_factory=list)
    searches: list[int] = field(default_factory=list)

    def find(self, _label: str, where: Where, *, limit: int, skip: int = 0) -> tuple[list[Stored], int]:
        """Those without a text when asked for them, else all."""
        is_rest = "$and" in where
        found = [
            record for record in self.all_records if not is_rest or "byovText_description" not in record.properties
        ]
        return found[skip : skip + limit], len(found)

    def search(self, _index: Index, _vector: Vector, *, where: Where | None, limit: int) -> list[Stored]:
        """Those with a vector."""
        assert where
        self.searches.append(limit)
        if self.answers:
            return self.answers.pop(0)
        return [record for record in self.all_records if record.record_id in self.searchable][:limit]


@dataclass
class Kept:
    """A sink that keeps ids."""

    ids: list[str] = field(default_factory=list)
    scored: list[tuple[int, Scored]] = field(default_factory=list)

    def records(self, found: Sequence[Stored]) -> None:
        """Keep the ids."""
        self.ids += [record.record_id for record in found]

    def scores(self, number: int, found: Iterable[Scored]) -> None:
        """Keep them."""
        self.scored += [(number, scored) for scored in found]


def stored(number: int, *, has_text: bool) -> Stored:
    """A record."""
    properties: dict[str, Any] = {"byovKey": str(number)}
    return Stored(f"r{number}", str(number), properties | ({"byovText_description": "x"} if has_text else {}), 0.5)


def lister(wire: ScriptedWire) -> Lister:
    """Reads from the script."""
    patience = Patience(1.0, lambda: 0.0, threading.Event().wait)
    probes = np.ones((3, 4), dtype=np.float32)
    return Lister(cast("Wire", wire), patience, "Job", ("description",), (INDEX,), (probes,), lambda: 0.0)


def test_records_without_a_vector_are_listed_once() -> None:
    """They do not appear in a search."""
    wire = ScriptedWire([stored(1, has_text=True), stored(2, has_text=False)], {"r1"})
    kept = Kept()
    lister(wire).read(["00"], kept)
    assert kept.ids == ["r1", "r2"]
    assert kept.scored == [(0, ("1", "r1", (0.5, 0.5, 0.5)))]


class Body:
    """What an HTTP client keeps of an answer: it refers to itself, by way of its request."""

    def __init__(self) -> None:
        self.request = self


@dataclass
class HoldingWire(ScriptedWire):
    """Leaves a body behind at each search, and looks whether those before are gone."""

    bodies: list[weakref.ref[Body]] = field(default_factory=list)

    def search(self, index: Index, vector: Vector, *, where: Where | None, limit: int) -> list[Stored]:
        """As scripted."""
        assert all(body() is None for body in self.bodies)
        self.bodies.append(weakref.ref(Body()))
        return super().search(index, vector, where=where, limit=limit)


def test_one_answer_at_a_time_is_held() -> None:
    """Each is tens of megabytes, and twice the memory was taken at 200,000 records."""
    wire = HoldingWire([stored(1, has_text=True)], {"r1"})
    lister(wire).read(["00"], Kept())
    assert len(wire.bodies) == 3


def test_scores_belong_to_their_records_whatever_the_order_of_each_answer() -> None:
    """The nearest comes first, and that is another one for each probe; one that is gone meanwhile has no score."""
    first, second, third = (replace(stored(n, has_text=True), score=n / 10) for n in (1, 2, 3))
    answers = [[third, first, second], [first, replace(third, score=0.9)], [second, third]]
    wire = ScriptedWire([first, second, third], answers=answers)
    kept = Kept()
    lister(wire).read(["00"], kept)
    assert kept.ids[:3] == ["r1", "r2", "r3"]
    assert [scored for _, scored in kept.scored] == [
        ("1", "r1", (0.1, 0.1, None)),
        ("2", "r2", (0.2, None, 0.2)),
        ("3", "r3", (0.3, 0.9, 0.3)),
    ]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_search_for_cycles_is_as_it_was_afterwards(*, enabled: bool) -> None:
    """Whoever embeds this package may have turned it off."""
    (gc.enable if enabled else gc.disable)()
    try:
        lister(ScriptedWire([stored(1, has_text=True)], {"r1"})).read(["00"], Kept())
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


def test_a_record_that_lost_its_vector_is_seen_by_going_through_all() -> None:
    """It says that it has a text, and no search finds it."""
    wire = ScriptedWire([stored(1, has_text=True), stored(2, has_text=True), stored(3, has_text=False)], {"r1"})
    kept = Kept()
    lister(wire).read(["00"], kept)
    assert sorted(kept.ids) == ["r1", "r2", "r3"]


def test_a_search_that_was_cut_off_is_asked_for_more() -> None:
    """Records may be added between counting and searching."""
    records = [stored(number, has_text=True) for number in range(3000)]
    wire = ScriptedWire(records, {record.record_id for record in records})
    assert len(lister(wire).search(0, 0, {"byovKey": "x"}, 10)) == 3000
    assert wire.searches == [1010, 3020]


def test_an_empty_chunk_is_not_searched() -> None:
    """Every search costs a scan of the label."""
    wire = ScriptedWire([], set())
    lister(wire).read(["00"], Kept())
    assert wire.searches == []
