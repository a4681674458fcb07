"""Indexes and markers are gone when they are seen to be gone, whatever the target answers; others' are left alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from byov_migrate.errors import Refused, Unavailable
from byov_migrate.target import provision
from byov_migrate.target.asking import Asker
from byov_migrate.target.looking import Lookout
from byov_migrate.target.pace import Pace
from byov_migrate.target.provision import MARKER_LABEL, Marker
from byov_migrate.target.rest import RestWire
from byov_migrate.target.wire import Index, Outbound
from tests.faults.exchange import (
    DELETE,
    Fault,
    act_then,
    act_then_close,
    act_twice_then_close,
    close_at_once,
    half_body,
    lose_commit,
    refuse,
)
from tests.faults.faulty_rushdb import FaultyRushDB
from tests.faults.virtual_time import VirtualTime

LABEL = "Job"
STATE = "11111111-state-a"
MARKER = Marker(LABEL, STATE, "7/jobs/public.job", generation=1)
FAULTS = [
    None,
    act_then_close,
    act_twice_then_close,
    close_at_once,
    half_body,
    lose_commit,
    act_then(500),
    refuse(500),
    refuse(503),
    refuse(429),
]


@pytest.fixture
def wire(faulty: FaultyRushDB) -> Iterator[RestWire]:
    """A wire through the proxy."""
    with contextlib.closing(faulty.wire()) as opened:
        yield opened


@pytest.fixture
def indexes(faulty: FaultyRushDB) -> tuple[Index, Index]:
    """One to be deleted, one of another label with the same property."""
    wire = faulty.honest_wire()
    return tuple(wire.create_index(label, "description", 8, "cosine") for label in (LABEL, "Other"))  # type: ignore[return-value]


def asker() -> Asker:
    """Asks as the job does."""
    return Asker(VirtualTime().patience(), Pace(1), 60.0)


@pytest.mark.parametrize("fault", FAULTS)
def test_an_index_is_deleted_once_and_no_other(
    faulty: FaultyRushDB, wire: RestWire, indexes: tuple[Index, Index], fault: Fault | None
) -> None:
    """A delete that was answered and lost, or done and not answered: the list tells."""
    gone, kept = indexes
    faulty.on(gone.id, fault)
    asker().repeat(lambda: wire.delete_index(gone))
    assert faulty.honest_wire().indexes() == [kept]


def test_an_index_that_is_gone_already_is_no_trouble(wire: RestWire, indexes: tuple[Index, Index]) -> None:
    """The run before was killed behind the delete."""
    wire.delete_index(indexes[0])
    wire.delete_index(indexes[0])
    assert wire.indexes() == [indexes[1]]


def test_an_index_that_stays_is_not_taken_for_deleted(
    faulty: FaultyRushDB, wire: RestWire, indexes: tuple[Index, Index]
) -> None:
    """A server that answers 202 and keeps it, for as long as patience lasts."""
    faulty.decide = lambda seen: lose_commit if seen.method == "DELETE" else None
    with pytest.raises(Unavailable, match=r"still lists the index on Job\.description"):
        asker().repeat(lambda: wire.delete_index(indexes[0]))


def claim(wire: RestWire, marker: Marker = MARKER) -> None:
    """Claim the label."""
    provision.claim_label(wire, VirtualTime().patience(), marker, records_known=0)


def markers(faulty: FaultyRushDB) -> list[tuple[str, str, int]]:
    """Label, state and generation of every marker."""
    names = ("byovKey", "byovState", "byovGeneration")
    found = (tuple(row[name] for name in names) for row in faulty.records(MARKER_LABEL))
    return sorted(found)


@pytest.mark.parametrize("fault", FAULTS)
def test_our_marker_is_removed_and_no_other(faulty: FaultyRushDB, wire: RestWire, fault: Fault | None) -> None:
    """Those of other labels, and of other states for the same label, are not ours."""
    claim(wire)
    claim(wire, replace(MARKER, label="Other"))
    faulty.honest_wire().create(MARKER_LABEL, [Outbound(LABEL, replace(MARKER, state="b").properties())])
    faulty.on(DELETE, fault)
    provision.release_label(wire, VirtualTime().patience(), LABEL, state=STATE)
    assert markers(faulty) == [(LABEL, "b", 1), ("Other", STATE, 1)]
    provision.release_label(wire, VirtualTime().patience(), LABEL, state=STATE)
    assert len(faulty.calls(DELETE)) >= 1


def test_whose_a_label_is_is_read_and_never_written(faulty: FaultyRushDB, wire: RestWire) -> None:
    """None, ours, another state's, a later copy's."""
    patience = VirtualTime().patience()
    assert not provision.has_marker(wire, patience, LABEL, state=STATE, generation=1)
    claim(wire)
    assert provision.has_marker(wire, patience, LABEL, state=STATE, generation=2)
    with pytest.raises(Refused, match="another state"):
        provision.has_marker(wire, patience, LABEL, state="b", generation=1)
    provision.raise_generation(wire, patience, LABEL, 3)
    with pytest.raises(Refused, match="a later copy"):
        provision.has_marker(wire, patience, LABEL, state=STATE, generation=2)
    provision.raise_generation(wire, patience, LABEL, 2)
    assert markers(faulty) == [(LABEL, STATE, 3)]


def test_records_are_counted_by_id_in_one_label(faulty: FaultyRushDB, wire: RestWire) -> None:
    """Those that are gone, and those of another label, do not count."""
    honest = faulty.honest_wire()
    ids = list(honest.create(LABEL, [Outbound(key, {"byovKey": key}) for key in "abc"]).values())
    other = honest.create("Other", [Outbound("a", {"byovKey": "a"})])["a"]
    honest.delete(LABEL, ids[:1])
    assert Lookout(wire, asker(), LABEL).count([*ids, other]) == 2
