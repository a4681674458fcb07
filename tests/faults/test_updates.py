"""Records written over at a RushDB that loses, lies and comes late: none lost, none doubled, no stale vector."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from byov_migrate.errors import Unavailable
from byov_migrate.records import Known
from tests.faults.exchange import (
    IMPORT,
    STATS,
    UPSERT,
    VECTOR_SEARCH,
    Exchange,
    Fault,
    Seen,
    act_then_close,
    act_twice_then_close,
    close_at_once,
    lose_commit,
    refuse,
)
from tests.faults.test_delivery import LOST_ANSWERS
from tests.faults.update_rig import BUDGET_S, REWRITES, ROUTES, Route, StartUpdates, Updates, Wanted, updates

__all__ = ["updates"]

FAULTS: dict[str, Fault] = {
    **LOST_ANSWERS,
    "act twice, then close": act_twice_then_close,
    "lost commit": lose_commit,
    "429": refuse(429),
    "403": refuse(403),
    "deadlock": refuse(400, {"message": "Import failed: ForsetiClient[7] can't acquire EXCLUSIVE ..."}),
}
UNTHINKABLE = {("put", "act, then fewer than sent")}  # a single record's answer has nothing that could be fewer
LATE = 0.9 * BUDGET_S
KEYS = ["1", "2", "3"]  # row "4" is left alone in every test


def fault_named(name: str, rig: Updates) -> Fault:
    """A fault of the table, or the one that needs the rig's clock."""
    return rig.time.act_after(LATE) if name == "act late" else FAULTS[name]


@pytest.mark.parametrize("route", ROUTES)
def test_an_undisturbed_update_is_stored_and_proved_by_counts_alone(updates: StartUpdates, route: Route) -> None:
    """The base of all that follows: same ids, same links, new content, no waiting and no search."""
    rig = updates(route)
    [receipt] = rig.deliver(rig.changed(KEYS, rig.change()))
    rig.assert_exact()
    assert receipt.record_ids == {key: rig.known[key].record_id for key in KEYS}
    assert rig.time.waits == []
    assert rig.faulty.calls(VECTOR_SEARCH) == []
    assert len(rig.faulty.calls(UPSERT)) == (0 if route == "append" else 1)


@pytest.mark.parametrize("route", REWRITES)
def test_a_value_and_a_text_that_are_gone_disappear_with_their_vector(updates: StartUpdates, route: Route) -> None:
    """Nothing is attached, and the count must say that what was there is gone."""
    rig = updates(route)
    rig.store(["5"], Wanted("Driver", "one", "temporary"))
    rig.deliver(rig.changed(["1"], Wanted("Pilot", None)), rig.changed(["5"], Wanted("Driver", "one")))
    rig.assert_exact()
    assert rig.faulty.calls(VECTOR_SEARCH) == []


@pytest.mark.parametrize(
    ("route", "name"),
    [(route, name) for route in ROUTES for name in [*FAULTS, "act late"] if (route, name) not in UNTHINKABLE],
)
def test_whatever_happens_to_the_write_no_row_is_lost_doubled_or_stale(
    updates: StartUpdates, route: Route, name: str
) -> None:
    """Each fault once, on the request that writes the records."""
    rig = updates(route)
    rig.faulty.on(rig.write_path("2"), fault_named(name, rig))
    rig.deliver(rig.changed(KEYS, rig.change()))
    rig.assert_exact()


@pytest.mark.parametrize("route", REWRITES)
@pytest.mark.parametrize("name", [*(name for name in FAULTS if name != "deadlock"), "act late"])
def test_whatever_happens_to_the_vectors_call_no_vector_is_missing_or_stale(
    updates: StartUpdates, route: Route, name: str
) -> None:
    """Each fault once, on the request that attaches the new vectors."""
    rig = updates(route)
    rig.faulty.on(UPSERT, fault_named(name, rig))
    rig.deliver(rig.changed(KEYS, rig.change()))
    rig.assert_exact()


@pytest.mark.parametrize("route", REWRITES)
def test_an_erase_and_an_attach_that_are_both_lost_do_not_pass_for_an_update(
    updates: StartUpdates, route: Route
) -> None:
    """The index then counts what it should, with the old vectors: only the count by batch tells."""
    rig = updates(route)
    for key in KEYS if route == "put" else KEYS[:1]:
        rig.faulty.on(rig.write_path(key), lose_commit)
    rig.faulty.on(UPSERT, lose_commit)
    rig.deliver(rig.changed(KEYS, rig.change()))
    rig.assert_exact()


@pytest.mark.parametrize("route", REWRITES)
def test_vectors_that_are_lost_twice_do_not_pass_for_attached(updates: StartUpdates, route: Route) -> None:
    """As many erased as attached: a count that has not moved since the last look is no proof."""
    rig = updates(route)
    rig.faulty.on(UPSERT, lose_commit, lose_commit)
    rig.deliver(rig.changed(KEYS, rig.change()))
    rig.assert_exact()


def test_an_erase_that_is_lost_does_not_hide_another_batchs_vector_that_is_lost(updates: StartUpdates) -> None:
    """One vector too many and one too few make the right count; both batches must be found."""
    rig = updates("put")
    clearing = rig.changed(["1"], Wanted("Pilot", None))
    rig.faulty.on(rig.write_path("1"), lose_commit)
    rig.faulty.on(UPSERT, lose_commit)
    retitled = rig.changed(["2"], Wanted("Pilot", "two"))
    rig.deliver(clearing, retitled)
    rig.assert_exact()


@pytest.mark.parametrize("route", REWRITES)
def test_a_write_that_comes_late_finds_no_vector_to_erase(updates: StartUpdates, route: Route) -> None:
    """Sent again at once, the second request would be followed by the vectors, and the first would erase them."""
    rig = updates(route)
    began = rig.time.now
    attached_at: list[float] = []

    def decide(seen: Seen) -> Fault | None:
        if seen.path.endswith(UPSERT):
            attached_at.append(rig.time.now)
        return None

    rig.faulty.decide = decide
    rig.faulty.on(rig.write_path("1"), rig.time.act_after(LATE))
    rig.deliver(rig.changed(KEYS, rig.change()))
    rig.assert_exact()
    assert min(attached_at) >= began + BUDGET_S


@pytest.mark.parametrize("route", REWRITES)
def test_a_vectors_call_that_comes_late_does_not_overwrite_a_later_texts_vector(
    updates: StartUpdates, route: Route
) -> None:
    """Answered at the second try, the first one still runs; the next change of the same row has to wait for it."""
    rig = updates(route)
    rig.faulty.on(UPSERT, rig.time.act_after(LATE))
    first = rig.delivery.confirm([rig.delivery.send(rig.changed(KEYS, Wanted("Pilot", "two")))])
    rig.learn(first[0])
    rig.deliver(rig.changed(KEYS, Wanted("Pilot", "three")))
    rig.assert_exact()


def test_a_change_of_other_rows_does_not_wait_for_a_vectors_call(updates: StartUpdates) -> None:
    """Waiting for everything would cost a minute for every answer that was lost."""
    rig = updates("put")
    rig.faulty.on(UPSERT, act_then_close)
    rig.delivery.send(rig.changed(["1"], Wanted("Pilot", "two")))
    rig.delivery.send(rig.changed(["2"], Wanted("Pilot", "two")))
    assert BUDGET_S not in rig.time.waits


def test_lost_answers_to_single_rows_cost_one_wait_together(updates: StartUpdates) -> None:
    """A minute for each of them would make a bad line of a thousand rows take a day."""
    rig = updates("put", keys=[str(number) for number in range(1, 9)])
    for key in ("1", "3", "5", "7"):
        rig.faulty.on(rig.write_path(key), act_then_close)
    rig.deliver(rig.changed([str(number) for number in range(1, 9)], rig.change()))
    rig.assert_exact()
    assert rig.time.waits.count(BUDGET_S) == 1


def test_a_target_that_answers_nothing_is_not_asked_for_every_row(updates: StartUpdates) -> None:
    """After three lost answers in a row the rest waits for the look."""
    rig = updates("put", keys=[str(number) for number in range(1, 9)])
    rig.faulty.decide = lambda seen: close_at_once if seen.method == "PUT" else None
    with pytest.raises(Unavailable):
        rig.delivery.send(rig.changed([str(number) for number in range(1, 9)], rig.change()))
    asked = {seen.path for seen in rig.faulty.seen if seen.method == "PUT"}
    assert asked == {f"/api/v1{rig.write_path(key)}" for key in KEYS}


def test_as_long_as_rows_arrive_a_batch_is_not_given_up(updates: StartUpdates) -> None:
    """Every look finds some more: that is a slow target, not one that keeps nothing."""
    keys = [str(number) for number in range(1, 13)]
    rig = updates("put", keys=keys)
    rig.faulty.decide = lambda seen: act_then_close if seen.method == "PUT" else None
    rig.deliver(rig.changed(keys, rig.change()))
    rig.assert_exact()


@pytest.mark.parametrize("route", ROUTES)
def test_a_target_that_keeps_no_update_ends_the_run_with_75(updates: StartUpdates, route: Route) -> None:
    """Neither an endless loop nor a receipt; the records stay as they were."""
    rig = updates(route)
    before = dict(rig.rows)
    rig.faulty.decide = lambda seen: lose_commit if seen.method == "PUT" or seen.path.endswith(IMPORT) else None
    with pytest.raises(Unavailable) as caught:
        rig.deliver(rig.changed(KEYS, Wanted("Pilot")))
    assert caught.value.exit_code == 75
    rig.rows = before
    rig.assert_exact()


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("status", [400, 409, 422])
def test_a_refused_row_stays_as_it_was_and_the_others_go_on(updates: StartUpdates, route: Route, status: int) -> None:
    """One reject, its old record with its old vector, and no row beside it touched by the refusal."""
    rig = updates(route)
    before = rig.rows["2"]
    body = b'"byovKey":"2"'

    def decide(seen: Seen) -> Fault | None:
        is_write = seen.method == "PUT" or seen.path.endswith(IMPORT)
        return refuse(status, {"message": "Import failed: canary"}) if is_write and body in seen.content else None

    rig.faulty.decide = decide
    accepted = rig.delivery.send(rig.changed(KEYS, rig.change()))
    [receipt] = rig.delivery.confirm([accepted])
    [reject] = accepted.rejected
    assert (reject.key, reject.stage, reject.code) == ("2", "write", f"http-{status}")
    assert "canary" not in reject.reason
    assert set(receipt.record_ids) == {"1", "3"}
    rig.rows["2"] = before
    rig.assert_exact()


@pytest.mark.parametrize("route", ["append", "rewrite"])
@pytest.mark.parametrize("status", [408, 413])
def test_an_update_that_is_too_large_is_halved(updates: StartUpdates, route: Route, status: int) -> None:
    """As a create is."""
    rig = updates(route)

    def decide(seen: Seen) -> Fault | None:
        return refuse(status) if seen.path.endswith(IMPORT) and len(seen.body["data"]) > 1 else None

    rig.faulty.decide = decide
    rig.deliver(rig.changed(KEYS, rig.change()))
    rig.assert_exact()


@pytest.mark.parametrize("route", REWRITES)
def test_a_record_of_which_nothing_is_known_is_proved_by_its_scores(updates: StartUpdates, route: Route) -> None:
    """A killed run may have erased its vector or not: counting would take one for the other."""
    rig = updates(route)
    before = rig.known["1"]
    rig.faulty.honest_wire().replace(rig.label, before.record_id, {"byovKey": "1", "title": "x", "description": ""})
    rig.known["1"] = Known(before.record_id, "", before.text_hashes)
    rig.faulty.on(UPSERT, lose_commit)
    rig.delivery.begin_counting()
    rig.deliver(rig.changed(["1"], rig.change()))
    rig.assert_exact()


def test_batches_of_all_three_ways_are_proved_together(updates: StartUpdates) -> None:
    """One checkpoint, one count by batch, one count of vectors."""
    rig = updates("append")
    appending = rig.changed(["1"], Wanted("Pilot"))
    rig.route = "rewrite"
    rewriting = rig.changed(["2"], Wanted("Pilot", "two"))
    clearing = rig.changed(["3"], Wanted("Pilot", None))
    rig.deliver(appending, rewriting, clearing)
    assert len(rig.faulty.calls(STATS)) == 1
    rig.store(["5"])
    rig.assert_exact()


@pytest.mark.parametrize("route", REWRITES)
def test_there_is_one_rewriter_at_a_time_however_many_writers_send(updates: StartUpdates, route: Route) -> None:
    """Two at once deadlock in the server more often than not."""
    rig = updates(route)
    under_way: list[str] = []
    most: list[int] = []

    def watched(exchange: Exchange) -> None:
        under_way.append(exchange.seen.path)
        most.append(len(under_way))
        time.sleep(0.02)
        given = exchange.act()
        under_way.remove(exchange.seen.path)
        exchange.answer(given)

    rig.faulty.decide = lambda seen: watched if seen.method == "PUT" or seen.path.endswith(IMPORT) else None
    batches = [rig.changed([key], rig.change()) for key in KEYS]
    with ThreadPoolExecutor(3) as writers:
        accepted = list(writers.map(rig.delivery.send, batches))
    rig.delivery.confirm(accepted)
    rig.assert_exact()
    assert max(most) == 1


def test_what_an_application_added_is_sent_back_by_a_rewrite(updates: StartUpdates) -> None:
    """A rewrite drops whatever it does not send."""
    rig = updates("put")
    rig.known["1"] = Known(rig.known["1"].record_id, rig.known["1"].hash, rig.known["1"].text_hashes, {"note": "n"})
    rig.deliver(rig.changed(["1"], rig.change()))
    rig.assert_exact()
    assert [row.get("note") for row in rig.faulty.records(rig.label) if row["byovKey"] == "1"] == ["n"]
