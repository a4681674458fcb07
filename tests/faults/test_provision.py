"""Before the first row: indexes adopted or refused, the label claimed by one state alone."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from byov_migrate.errors import CredentialsRefused, MigrationError, PersonNeeded, Refused, Unavailable
from byov_migrate.target import provision
from byov_migrate.target.provision import MARKER_LABEL, Marker
from byov_migrate.target.rest import RestWire
from byov_migrate.target.wire import Outbound, Server
from tests.faults.exchange import (
    IMPORT,
    INDEXES,
    UPSERT,
    Exchange,
    Fault,
    act_then,
    act_then_close,
    lose_commit,
    refuse,
)
from tests.faults.faulty_rushdb import FaultyRushDB, target_config
from tests.faults.virtual_time import VirtualTime

LABEL = "Job"
MARKER = Marker(LABEL, "11111111-state-a", "7/jobs/public.job", generation=1)


@pytest.fixture
def wire(faulty: FaultyRushDB) -> Iterator[RestWire]:
    """A wire through the proxy."""
    with contextlib.closing(faulty.wire()) as opened:
        yield opened


def ensure(wire: RestWire, dimension: int = 8, name: str = "description") -> str:
    """The id of the only index."""
    [index] = provision.ensure_indexes(wire, VirtualTime().patience(), LABEL, {name: dimension})
    assert (index.label, index.property_name, index.dimension, index.similarity) == (LABEL, name, dimension, "cosine")
    return index.id


def claim(wire: RestWire, marker: Marker = MARKER, *, records_known: int = 0) -> None:
    """Claim the label for a state."""
    provision.claim_label(wire, VirtualTime().patience(), marker, records_known=records_known)


def test_an_index_is_made_once_and_adopted_from_then_on(wire: RestWire) -> None:
    """A second one of the same shape is a 409; a new id would orphan the vectors of the first."""
    assert ensure(wire) == ensure(wire)
    assert len(wire.indexes()) == 1


def test_indexes_come_in_the_order_of_the_embeddings(wire: RestWire) -> None:
    """Vectors are attached by number."""
    wanted = {"b": 8, "a": 4, "c": 2}
    made = provision.ensure_indexes(wire, VirtualTime().patience(), LABEL, wanted)
    assert [(index.property_name, index.dimension) for index in made] == list(wanted.items())
    assert provision.ensure_indexes(wire, VirtualTime().patience(), LABEL, wanted) == made


def test_an_index_of_another_dimension_is_refused(wire: RestWire) -> None:
    """Another model: its vectors belong under another property."""
    ensure(wire, 8)
    with pytest.raises(Refused, match="8 dimensions"):
        ensure(wire, 16)
    assert len(wire.indexes()) == 1


def test_an_index_of_another_label_is_none_of_ours(wire: RestWire) -> None:
    """Nor is one of another property."""
    wire.create_index("Other", "description", 16, "cosine")
    wire.create_index(LABEL, "other", 16, "cosine")
    ensure(wire, 8)


def test_a_property_that_holds_numbers_somewhere_needs_a_person(wire: RestWire) -> None:
    """RushDB looks at the whole project and answers 422."""
    wire.create("Other", [Outbound("1", {"byovKey": "1", "description": 5})])
    with pytest.raises(PersonNeeded, match="another property"):
        ensure(wire)


@pytest.mark.parametrize("fault", [act_then_close, act_then(502), act_then(201, {}), refuse(503)])
def test_a_lost_answer_to_the_making_of_an_index_is_looked_for(
    faulty: FaultyRushDB, wire: RestWire, fault: Fault
) -> None:
    """Making it twice does no harm, so the run goes on."""
    faulty.on(INDEXES, None, fault)
    assert ensure(wire) == wire.indexes()[0].id


def test_a_claim_stands_before_the_first_row_and_holds_no_value_of_one(faulty: FaultyRushDB, wire: RestWire) -> None:
    """Its content is what another state will be told."""
    claim(wire)
    [stored] = faulty.records(MARKER_LABEL)
    assert {name: value for name, value in stored.items() if name != "__id"} == {
        "byovKey": LABEL,
        "byovState": MARKER.state,
        "byovGeneration": 1,
        "byovSource": MARKER.source,
        "byovFormat": 1,
    }


def test_the_same_state_finds_its_claim_again(faulty: FaultyRushDB, wire: RestWire) -> None:
    """One marker, whatever the number of runs."""
    for _ in range(3):
        claim(wire)
    claim(wire, records_known=5)
    assert len(faulty.records(MARKER_LABEL)) == 1


def test_two_labels_have_two_markers(faulty: FaultyRushDB, wire: RestWire) -> None:
    """One does not speak for the other."""
    claim(wire)
    claim(wire, replace(MARKER, label="Posting"))
    assert faulty.keys(MARKER_LABEL) == ["Job", "Posting"]


def test_another_state_is_refused_and_writes_nothing(faulty: FaultyRushDB, wire: RestWire) -> None:
    """A second state must never double a label."""
    claim(wire)
    with pytest.raises(Refused) as caught:
        claim(wire, replace(MARKER, state="22222222-state-b"))
    assert "11111111" in str(caught.value)
    assert "22222222" in str(caught.value)
    assert "byov-migrate adopt" in str(caught.value.next_step)
    assert len(faulty.records(MARKER_LABEL)) == 1


def test_records_without_a_marker_are_refused(faulty: FaultyRushDB, wire: RestWire) -> None:
    """A lost state, and somebody removed the marker: an empty state would write every row a second time."""
    wire.create(LABEL, [Outbound(key, {"byovKey": key, "byovBatch": "b"}) for key in "abc"])
    with pytest.raises(Refused, match="3 records"):
        claim(wire)
    assert faulty.records(MARKER_LABEL) == []


def test_records_of_others_under_our_label_are_no_reason_to_refuse(wire: RestWire) -> None:
    """They have no `byovKey`: somebody else's, never counted, never touched."""
    wire.create(LABEL, [Outbound("", {"title": "written by an application"})])
    claim(wire)


def test_a_state_whose_records_are_not_here_is_refused(faulty: FaultyRushDB, wire: RestWire) -> None:
    """The key opens another project: going on would write only what is left of the plan."""
    with pytest.raises(Refused, match="12,345 records"):
        claim(wire, records_known=12_345)
    assert faulty.records(MARKER_LABEL) == []


def test_an_older_copy_of_a_state_only_reads(wire: RestWire) -> None:
    """A backup that was restored elsewhere has taken over."""
    claim(wire, replace(MARKER, generation=2))
    with pytest.raises(Refused, match="later copy"):
        claim(wire)


def test_a_restored_state_takes_over_by_its_generation(faulty: FaultyRushDB, wire: RestWire) -> None:
    """From then on the older copy is refused."""
    claim(wire)
    claim(wire, replace(MARKER, generation=2))
    [stored] = faulty.records(MARKER_LABEL)
    assert stored["byovGeneration"] == 2
    assert stored["byovState"] == MARKER.state


def test_of_two_claims_at_the_same_moment_one_withdraws(faulty: FaultyRushDB, wire: RestWire) -> None:
    """Neither saw the other's marker when it looked; the earlier record wins, the later one is removed."""
    rival = replace(MARKER, state="22222222-state-b")

    def rival_first(exchange: Exchange) -> None:
        faulty.honest_wire().create(MARKER_LABEL, [Outbound(LABEL, rival.properties())])
        exchange.answer(exchange.act())

    faulty.on(IMPORT, rival_first)
    with pytest.raises(Refused, match="another state"):
        claim(wire)
    assert [row["byovState"] for row in faulty.records(MARKER_LABEL)] == [rival.state]


def test_of_two_claims_at_the_same_moment_the_first_goes_on(faulty: FaultyRushDB, wire: RestWire) -> None:
    """The other side of the same race."""
    rival = replace(MARKER, state="22222222-state-b")

    def rival_second(exchange: Exchange) -> None:
        given = exchange.act()
        faulty.honest_wire().create(MARKER_LABEL, [Outbound(LABEL, rival.properties())])
        exchange.answer(given)

    faulty.on(IMPORT, rival_second)
    claim(wire)


def test_many_states_at_once_leave_one_owner(faulty: FaultyRushDB) -> None:
    """Real threads, no script."""
    owners: list[str] = []

    def run(number: int) -> None:
        with contextlib.closing(faulty.wire()) as own, contextlib.suppress(Refused):
            claim(own, replace(MARKER, state=f"state-{number}"))
            owners.append(f"state-{number}")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(owners) == 1
    assert [row["byovState"] for row in faulty.records(MARKER_LABEL)] == owners


def test_a_marker_that_is_accepted_and_not_kept_is_written_again(faulty: FaultyRushDB, wire: RestWire) -> None:
    """The first write is the first lie; without a marker no row may follow."""
    faulty.on(IMPORT, lose_commit, lose_commit)
    claim(wire)
    assert len(faulty.records(MARKER_LABEL)) == 1


def test_a_target_that_never_keeps_a_marker_ends_the_run(faulty: FaultyRushDB, wire: RestWire) -> None:
    """It would not keep rows either."""
    faulty.decide = lambda seen: lose_commit if seen.path.endswith(IMPORT) else None
    with pytest.raises(Unavailable):
        claim(wire)


@pytest.mark.parametrize("fault", [act_then_close, act_then(502)])
def test_a_lost_answer_to_a_claim_does_no_harm(faulty: FaultyRushDB, wire: RestWire, fault: Fault) -> None:
    """This run or the next one goes on with the one marker."""
    faulty.on(IMPORT, fault)
    with contextlib.suppress(MigrationError):
        claim(wire)
    claim(wire)
    assert len(faulty.records(MARKER_LABEL)) == 1


def test_a_key_that_only_reads_is_refused_before_anything_is_written(faulty: FaultyRushDB) -> None:
    """By its level; a 403 in the middle would look like a limiter."""
    with contextlib.closing(faulty.wire()) as writer:
        assert writer.server().key_level == "write"
        provision.require_writer(writer.server())
    server = Server("sandbox", "read", 1.0)
    with pytest.raises(CredentialsRefused, match="may only read"):
        provision.require_writer(server)
    faulty.key = faulty.read_key
    with contextlib.closing(faulty.wire()) as reader:
        assert reader.server().key_level == "read"


def test_the_request_budget_is_configured_or_announced_or_a_minute(faulty: FaultyRushDB, wire: RestWire) -> None:
    """How long a lost request may still be at work."""
    plain, own = target_config(faulty.url), target_config(faulty.url, request_budget="90s")
    assert provision.request_budget_s(plain, wire.server()) == 1
    assert provision.request_budget_s(own, wire.server()) == 90
    assert provision.request_budget_s(plain, Server("platform", "write", None)) == 60


def test_the_v3_protocol_is_refused_by_name() -> None:
    """Better than a 404 at the first request."""
    with pytest.raises(PersonNeeded, match="REST"):
        provision.open_wire(target_config("http://127.0.0.1:1", wire="engine"), lambda: "key")


def test_paid_queries_are_tried_before_the_first_write(faulty: FaultyRushDB, wire: RestWire) -> None:
    """A plan without them ends the run while nothing has been written."""
    indexes = provision.ensure_indexes(wire, VirtualTime().patience(), LABEL, {"description": 8})
    provision.try_paid_queries(wire, VirtualTime().patience(), LABEL, indexes)
    faulty.decide = lambda seen: refuse(402) if seen.path.endswith("/search") else None
    with pytest.raises(PersonNeeded, match="402"):
        provision.try_paid_queries(wire, VirtualTime().patience(), LABEL, indexes)
    assert faulty.calls(IMPORT) == faulty.calls(UPSERT) == []


def test_a_server_that_is_down_at_the_start_is_waited_for(faulty: FaultyRushDB, virtual_time: VirtualTime) -> None:
    """Cron starts while the target restarts."""
    faulty.on("/settings", refuse(503), act_then_close)
    with contextlib.closing(faulty.wire()) as opened:
        assert virtual_time.patience().retry(opened.server).kind == "sandbox"
    assert len(virtual_time.waits) == 2


ADOPTED = replace(MARKER, state="22222222-state-b", generation=2)


def take_over(wire: RestWire, before: Marker = MARKER) -> None:
    """Take the label of a lost state over."""
    provision.take_over(wire, VirtualTime().patience(), before, ADOPTED)


@pytest.mark.parametrize("fault", [act_then_close, act_then(502), refuse(503), lose_commit])
def test_a_label_is_taken_over_whatever_becomes_of_the_answer(
    faulty: FaultyRushDB, wire: RestWire, fault: Fault
) -> None:
    """The marker is read back: before that no state may take its place. The lost one then only reads."""
    claim(wire)
    [marker] = faulty.records(MARKER_LABEL)
    assert provision.marker_of(wire, VirtualTime().patience(), LABEL) == MARKER
    faulty.on(f"/records/{marker['__id']}", fault)
    take_over(wire)
    assert provision.marker_of(wire, VirtualTime().patience(), LABEL) == ADOPTED
    assert [row["__id"] for row in faulty.records(MARKER_LABEL)] == [marker["__id"]]
    claim(wire, ADOPTED)
    with pytest.raises(Refused, match="another state"):
        claim(wire)


def test_a_label_that_became_somebody_elses_meanwhile_is_not_taken_over(faulty: FaultyRushDB, wire: RestWire) -> None:
    """Two that adopt at once: the later one has compared for nothing."""
    claim(wire)
    rival = replace(MARKER, state="33333333-state-c", generation=2)
    provision.take_over(wire, VirtualTime().patience(), MARKER, rival)
    with pytest.raises(Refused, match="meanwhile"):
        take_over(wire)
    assert [row["byovState"] for row in faulty.records(MARKER_LABEL)] == [rival.state]


def test_a_label_of_nobody_has_no_marker(wire: RestWire) -> None:
    """Nor can it be taken over."""
    assert provision.marker_of(wire, VirtualTime().patience(), LABEL) is None
    with pytest.raises(Refused, match="meanwhile"):
        take_over(wire)
