"""Links made and removed while answers are lost: a request that may still be running acts on what is there by then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from byov_migrate.records import LinkEnd
from byov_migrate.target.asking import Asker
from byov_migrate.target.linking import Linker
from byov_migrate.target.pace import Pace
from byov_migrate.target.rest import RestWire
from byov_migrate.target.wire import LinkPlace, Outbound
from tests.faults.exchange import Fault, act_then_close, close_at_once, lose_commit
from tests.faults.faulty_rushdb import FaultyRushDB
from tests.faults.virtual_time import VirtualTime

BUDGET_S = 7.0
JOIN, PART = "/api/v1/relationships/create-many", "/api/v1/relationships/delete-many"


@pytest.fixture
def wire(faulty: FaultyRushDB) -> Iterator[RestWire]:
    """Past the faults."""
    with contextlib.closing(faulty.honest_wire()) as opened:
        yield opened


@pytest.fixture
def linker(faulty: FaultyRushDB, virtual_time: VirtualTime) -> Iterator[Linker]:
    """Through the faults."""
    with contextlib.closing(faulty.wire()) as opened:
        yield Linker(opened, Asker(virtual_time.patience(), Pace(1), BUDGET_S))


@pytest.fixture
def place(wire: RestWire) -> LinkPlace:
    """Two jobs that hold the key of one company."""
    place = LinkPlace("AT", "LinkedJob", "LinkedCompany", "byovRef_AT")
    wire.create(place.target, [Outbound("7", {"byovKey": "7"})])
    rows = [Outbound(key, {"byovKey": key, "byovBatch": "b", "byovRef_AT": "7"}) for key in ("1", "2")]
    wire.create(place.source, rows)
    return place


@pytest.mark.parametrize("fault", [act_then_close, close_at_once])
@pytest.mark.parametrize("path", [JOIN, PART])
def test_a_lost_request_about_links_is_outlasted(
    faulty: FaultyRushDB,
    virtual_time: VirtualTime,
    wire: RestWire,
    linker: Linker,
    place: LinkPlace,
    path: str,
    fault: Fault,
) -> None:
    """Repeating proves what is there now; a late join makes an old link again, a late removal takes a new one."""
    ids = [record.record_id for record in wire.find(place.source, {}, limit=10)[0]]
    steps: dict[str, Callable[[], None]] = {
        JOIN: lambda: linker.join(place, batches=["b"], linked=2),
        PART: lambda: linker.part(place, ids),
    }
    if path == PART:
        steps[JOIN]()
    faulty.on(path, fault)
    lost_at = virtual_time.now
    steps[path]()
    linker.outlast()
    assert virtual_time.now - lost_at >= BUDGET_S
    assert wire.links(place.type, limit=1)[1] == (2 if path == JOIN else 0)
    before = virtual_time.now
    linker.outlast()
    assert virtual_time.now == before


@pytest.mark.parametrize("fault", [act_then_close, close_at_once, lose_commit])
@pytest.mark.parametrize("hub_is", ["source", "target"])
def test_links_of_one_record_are_made_and_proved_from_either_end(
    faulty: FaultyRushDB, wire: RestWire, linker: Linker, place: LinkPlace, hub_is: LinkEnd, fault: Fault
) -> None:
    """Two others, whatever becomes of the answer; each link once, and in its direction."""
    wire.create(place.target, [Outbound("8", {"byovKey": "8"})])
    sources, targets = (
        [record.record_id for record in wire.find(label, {}, limit=10)[0]] for label in (place.source, place.target)
    )
    hub, others = (sources[0], targets) if hub_is == "source" else (targets[0], sources)
    faulty.on(f"/api/v1/relationships/{hub}", fault)
    linker.link(place, hub, others, hub_is=hub_is)
    assert faulty.unused == []
    made, count = wire.links(place.type, limit=10)
    expected = {(hub, other) if hub_is == "source" else (other, hub) for other in others}
    assert ({(link.source, link.target) for link in made}, count) == (expected, 2)


def test_links_of_many_records_are_removed_by_one_request(
    faulty: FaultyRushDB, wire: RestWire, linker: Linker, place: LinkPlace
) -> None:
    """By the keys that they hold; one by one only where somebody linked them otherwise."""
    ids = [record.record_id for record in wire.find(place.source, {}, limit=10)[0]]
    linker.join(place, batches=["b"], linked=2)
    linker.part(place, ids)
    assert len(faulty.calls(PART)) == 1
    assert not any(faulty.calls(f"/api/v1/relationships/{record_id}") for record_id in ids)
    assert wire.links(place.type, limit=1)[1] == 0
