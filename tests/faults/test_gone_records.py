"""Records that somebody deletes, before an update reaches them or because we ask for it."""

from __future__ import annotations

import pytest

from byov_migrate.errors import MigrationError
from byov_migrate.target.wire import Outbound
from tests.faults.exchange import (
    DELETE,
    IMPORT,
    Exchange,
    Fault,
    Seen,
    act_then_close,
    act_twice_then_close,
    close_at_once,
    lose_commit,
    refuse,
)
from tests.faults.update_rig import REWRITES, Route, StartUpdates, updates

__all__ = ["updates"]

KEYS = ["1", "2", "3"]  # row "4" is left alone in every test


@pytest.mark.parametrize("route", REWRITES)
@pytest.mark.parametrize("fault", [None, act_then_close, act_twice_then_close, lose_commit])
def test_a_record_that_is_gone_is_made_anew_in_its_place(
    updates: StartUpdates, route: Route, fault: Fault | None
) -> None:
    """Somebody deleted it since it was looked at: one new record, with its vector, and its id in the receipt."""
    rig = updates(route)
    rig.faulty.honest_wire().delete(rig.label, [rig.known["2"].record_id])
    rig.faulty.on(IMPORT, fault)
    [receipt] = rig.deliver(rig.changed(KEYS, rig.change()))
    rig.assert_exact(moved=["2"])
    stored = {row["byovKey"]: row["__id"] for row in rig.faulty.records(rig.label)}
    assert receipt.record_ids == {key: stored[key] for key in KEYS}


def test_a_404_that_is_not_true_makes_no_second_record(updates: StartUpdates) -> None:
    """Something on the way answers in the server's words; the record is asked for before it is made anew."""
    rig = updates("put")
    rig.faulty.on(rig.write_path("2"), refuse(404, {"message": "Not Found", "statusCode": 404}))
    rig.deliver(rig.changed(KEYS, rig.change()))
    rig.assert_exact()


def test_a_route_that_is_not_there_is_not_a_record_that_is_gone(updates: StartUpdates) -> None:
    """A server without PUT would otherwise get every row a second time."""
    rig = updates("put")
    rig.faulty.decide = lambda seen: refuse(404, {"message": "Cannot PUT /x"}) if seen.method == "PUT" else None
    with pytest.raises(MigrationError) as caught:
        rig.delivery.send(rig.changed(KEYS, rig.change()))
    assert caught.value.exit_code == 69


@pytest.mark.parametrize("fault", [None, act_then_close])
def test_appending_to_a_record_that_is_gone_leaves_no_record_without_its_vector(
    updates: StartUpdates, fault: Fault | None
) -> None:
    """The server makes one anew and nothing was embedded for it: removed and rejected, the next sync makes it whole."""
    rig = updates("append")
    rig.faulty.honest_wire().delete(rig.label, [rig.known["2"].record_id])
    rig.faulty.on(IMPORT, fault)
    accepted = rig.delivery.send(rig.changed(KEYS, rig.change()))
    [receipt] = rig.delivery.confirm([accepted])
    assert [(row.key, row.code) for row in accepted.rejected] == [("2", "record-gone")]
    assert set(receipt.record_ids) == {"1", "3"}
    del rig.rows["2"]
    rig.assert_exact()


def test_of_two_records_of_a_key_the_known_one_stays(updates: StartUpdates) -> None:
    """A copy that carries the batch's name is removed; removing the other would cost its links."""
    rig = updates("put")
    batch = rig.changed(KEYS, rig.change())
    rig.faulty.honest_wire().create(rig.label, [Outbound("1", batch.rows[0].document.properties)])
    rig.faulty.on(rig.write_path("1"), act_then_close)
    rig.deliver(batch)
    rig.assert_exact()


def test_records_are_fetched_as_they_are_and_those_that_are_gone_are_absent(updates: StartUpdates) -> None:
    """Whoever updates has to know what an application changed, and what somebody deleted."""
    rig = updates("put")
    ids = rig.ids()
    rig.faulty.honest_wire().delete(rig.label, [ids["2"]])
    rig.faulty.on("/records/search", close_at_once)
    fetched = rig.delivery.fetch([*ids.values(), "01a20e4c-37c3-7e40-95fc-996f41d763a3"])
    assert {record.key: record_id for record_id, record in fetched.items()} == {
        key: record_id for key, record_id in ids.items() if key != "2"
    }
    assert fetched[ids["1"]].properties["title"] == "Driver"


def test_many_records_are_removed_whatever_the_server_does_meanwhile(updates: StartUpdates) -> None:
    """Lost answers, deletes that were not kept, and a 408 after half of the work, which speaks of a roll-back."""
    rig = updates("put")
    wire = rig.faulty.honest_wire()
    doomed: list[str] = []
    for start in (0, 1000, 2000):
        rows = [Outbound(str(number), {"byovKey": str(number)}) for number in range(start + 100, start + 1100)]
        doomed += wire.create(rig.label, rows).values()

    def half(seen: Seen) -> Fault | None:
        ids = seen.body["where"]["$id"]["$in"] if seen.path.endswith(DELETE) else []
        if len(ids) <= 300:
            return None

        def fault(exchange: Exchange) -> None:
            wire.delete(rig.label, ids[: len(ids) // 2])
            refuse(408)(exchange)

        return fault

    rig.faulty.on(DELETE, lose_commit, act_then_close, close_at_once)
    rig.faulty.decide = half
    rig.delivery.discard(doomed)
    rig.assert_exact()
