"""Batches against a RushDB that loses and lies: no row lost, none doubled."""

from __future__ import annotations

import pytest

from byov_migrate.errors import Unavailable
from byov_migrate.target.delivery import LOOK_TIMES, WriteMode
from byov_migrate.target.proof import of_batch
from byov_migrate.target.wire import Outbound
from tests.faults.batches import LABEL, PROBES, batch_of, numbered
from tests.faults.delivery_rig import BUDGET_S, Start
from tests.faults.exchange import (
    DELETE,
    IMPORT,
    SEARCH,
    STATS,
    UPSERT,
    VECTOR_SEARCH,
    Fault,
    Seen,
    act_then,
    act_then_change,
    act_then_close,
    act_then_hang,
    act_then_reset,
    act_twice_then_close,
    close_at_once,
    half_body,
    lose_commit,
    refuse,
    web_page,
)

LOST_ANSWERS: dict[str, Fault] = {
    "act, then close": act_then_close,
    "act, then reset": act_then_reset,
    "act, then hang": act_then_hang,
    "act, then 502": act_then(502),
    "act, then 500": act_then(500, {}),
    "act, then half a body": half_body,
    "act, then no JSON": act_then(201, b"it worked"),
    "act, then a JSON string": act_then(201, "it worked"),
    "act, then an empty object": act_then(201, {}),
    "act, then no list": act_then(201, {"data": True, "success": True}),
    "act, then a list of numbers": act_then(201, {"data": [1, 2], "success": True}),
    "act, then fewer than sent": act_then_change(lambda body: {**body, "data": body["data"][:-1]}),
    "act, then a lost database": act_then(400, {"message": "Import failed: Connection was closed by server"}),
    "close at once": close_at_once,
    "a web page": web_page,
    "503 at once": refuse(503),
}


@pytest.mark.parametrize("mode", ["two-call", "inline"])
def test_an_undisturbed_batch_is_stored_and_proved(start: Start, mode: WriteMode) -> None:
    """The base of all that follows: rows with and without vectors, ids of what is really there, no waiting."""
    rig = start(mode)
    batch = batch_of(numbered(5), bare=["4", "5"])
    [receipt] = rig.deliver(batch)
    rig.assert_stored(numbered(5), vectors=3)
    assert receipt.batch is batch
    assert receipt.record_ids == {row["byovKey"]: row["__id"] for row in rig.faulty.records(LABEL)}
    assert rig.time.waits == []


@pytest.mark.parametrize("mode", ["two-call", "inline"])
@pytest.mark.parametrize("fault", LOST_ANSWERS)
def test_a_lost_answer_to_a_create_neither_loses_nor_doubles_a_row(start: Start, fault: str, mode: WriteMode) -> None:
    """Sending again at once would double what the server did after all; never sending again would lose it."""
    rig = start(mode)
    rig.faulty.on(IMPORT, LOST_ANSWERS[fault])
    [receipt] = rig.deliver(batch_of(numbered(4)))
    rig.assert_stored(numbered(4))
    assert set(receipt.record_ids) == set(numbered(4))
    assert BUDGET_S in rig.time.waits


@pytest.mark.parametrize("fault", LOST_ANSWERS)
def test_a_lost_answer_to_a_vectors_call_is_simply_asked_again(start: Start, fault: str) -> None:
    """Setting the same vectors twice does no harm; creating the records again would."""
    rig = start()
    rig.faulty.on(UPSERT, LOST_ANSWERS[fault])
    rig.deliver(batch_of(numbered(4)))
    rig.assert_stored(numbered(4))
    assert len(rig.faulty.calls(IMPORT)) == 1


def test_nothing_is_sent_between_a_lost_answer_and_the_end_of_the_servers_budget(start: Start) -> None:
    """The first request may still be running: looking or sending before it ended would decide too early."""
    rig = start()
    began = rig.time.now
    looked_at: list[float] = []

    def decide(seen: Seen) -> Fault | None:
        if seen.path.endswith(SEARCH):
            looked_at.append(rig.time.now)
        return None

    rig.faulty.on(IMPORT, act_then_close)
    rig.faulty.decide = decide
    rig.deliver(batch_of(numbered(2)))
    assert looked_at
    assert min(looked_at) >= began + BUDGET_S


def test_a_batch_that_arrived_twice_is_thinned_out_before_it_is_settled(start: Start) -> None:
    """A request repeated by a proxy on the way creates every record twice."""
    rig = start()
    rig.faulty.on(IMPORT, act_twice_then_close)
    [receipt] = rig.deliver(batch_of(numbered(3)))
    rig.assert_stored(numbered(3))
    assert set(receipt.record_ids.values()) == {row["__id"] for row in rig.faulty.records(LABEL)}


@pytest.mark.parametrize("mode", ["two-call", "inline"])
def test_a_create_that_was_answered_and_not_stored_is_sent_again(start: Start, mode: WriteMode) -> None:
    """RushDB answers 201 with ids although its commit failed: believing it loses the whole batch."""
    rig = start(mode)
    rig.faulty.on(IMPORT, lose_commit)
    rig.deliver(batch_of(numbered(4)))
    rig.assert_stored(numbered(4))


def test_rows_without_vectors_are_counted_and_sent_again_when_they_are_lost(start: Start) -> None:
    """No vectors call vouches for them; a batch that is wholly lost has no group in the count at all."""
    rig = start()
    rig.faulty.on(IMPORT, None, lose_commit, None)
    batches = [batch_of(keys, bare=keys) for keys in (["1", "2"], ["3", "4"], ["5"])]
    receipts = rig.deliver(*batches)
    rig.assert_stored(numbered(5), vectors=0)
    assert [receipt.batch for receipt in receipts] == batches
    assert len(rig.faulty.calls(IMPORT)) == 4


def test_vectors_that_were_answered_and_not_stored_are_attached_again(start: Start) -> None:
    """The index's count is the only thing that sees it: records are there, ids are known, the answer was 200."""
    rig = start()
    rig.faulty.on(UPSERT, None, lose_commit, None)
    batches = [batch_of(["1", "2"]), batch_of(["3", "4"]), batch_of(["5"])]
    rig.deliver(*batches)
    rig.assert_stored(numbered(5))
    assert len(rig.faulty.calls(IMPORT)) == 3  # no record was made twice
    assert len(rig.faulty.calls(UPSERT)) == 4  # only the doubtful batch was attached again


def test_only_a_doubtful_checkpoint_asks_batch_by_batch(start: Start) -> None:
    """Searches cost the server a scan of the label; a count that fits makes them needless."""
    rig = start()
    rig.deliver(batch_of(["1"]), batch_of(["2"]))
    rig.deliver(batch_of(["3"]))
    assert rig.faulty.calls(VECTOR_SEARCH) == []
    assert len(rig.faulty.calls(STATS)) == 3  # once to begin, once a checkpoint


def test_vectors_that_others_add_meanwhile_prove_nothing_of_ours(start: Start) -> None:
    """One of ours lost and one of somebody else's added makes the count fit; more foreign ones must not."""
    rig = start()
    rig.faulty.on(UPSERT, lose_commit)
    accepted = rig.delivery.send(batch_of(["1"]))
    other = rig.faulty.honest_wire()
    foreign = [Outbound(key, {"byovKey": key, "description": ""}) for key in ("a", "b")]
    other.attach(other.indexes()[0], dict.fromkeys(other.create(LABEL, foreign).values(), PROBES[0]))
    rig.delivery.confirm([accepted])
    assert rig.faulty.vectors() == 3


def test_the_right_number_of_wrong_vectors_is_found_by_their_scores(start: Start) -> None:
    """A batch whose search answers other scores is not what was sent."""
    rig = start()
    batch = batch_of(["1", "2"])
    [receipt] = rig.deliver(batch)
    scores = {receipt.record_ids[item.document.key]: item.scores[0][0] for item in batch.rows if item.scores[0]}
    assert rig.delivery.holds_vectors(of_batch(batch.id), [scores])
    other = rig.faulty.honest_wire()
    other.attach(other.indexes()[0], {receipt.record_ids["1"]: PROBES[0]})
    assert not rig.delivery.holds_vectors(of_batch(batch.id), [scores])


@pytest.mark.parametrize("path", [IMPORT, UPSERT])
def test_a_server_that_never_keeps_anything_ends_the_run_with_75(start: Start, path: str) -> None:
    """Neither an endless loop nor a receipt."""
    rig = start()
    rig.faulty.decide = lambda seen: lose_commit if seen.path.endswith(path) else None
    with pytest.raises(Unavailable) as caught:
        rig.deliver(batch_of(["1", "2"]))
    assert caught.value.exit_code == 75
    assert rig.faulty.vectors() == 0


def test_a_server_that_never_answers_a_create_ends_the_run_and_doubles_nothing(start: Start) -> None:
    """Looked for and found whole at the first look: the records are taken as they are."""
    rig = start()
    rig.faulty.decide = lambda seen: act_then_close if seen.path.endswith(IMPORT) else None
    rig.deliver(batch_of(["1", "2"]))
    rig.assert_stored(["1", "2"])
    assert len(rig.faulty.calls(IMPORT)) == 1


def test_a_create_that_is_never_carried_out_is_tried_a_few_times_only(start: Start) -> None:
    """Each look waits out the server's budget; the run gives up so that cron can try later."""
    rig = start()
    rig.faulty.decide = lambda seen: close_at_once if seen.path.endswith(IMPORT) else None
    with pytest.raises(Unavailable):
        rig.delivery.send(batch_of(["1", "2"]))
    assert len(rig.faulty.calls(IMPORT)) == LOOK_TIMES
    assert rig.faulty.keys(LABEL) == []


def test_an_answer_that_is_lost_while_a_lost_batch_is_sent_again_is_looked_for_too(start: Start) -> None:
    """Two faults in a row: the second create is carried out and its answer is lost."""
    rig = start()
    rig.faulty.on(IMPORT, lose_commit, act_then_close)
    keys = ["1", "2"]
    [receipt] = rig.deliver(batch_of(keys, bare=keys))
    rig.assert_stored(keys, vectors=0)
    assert set(receipt.record_ids) == set(keys)


def test_records_are_discarded_until_they_are_gone(start: Start) -> None:
    """A delete that was answered and not carried out would leave a second copy of every row of the batch."""
    rig = start()
    [receipt] = rig.deliver(batch_of(["1", "2"]))
    rig.faulty.on(DELETE, lose_commit, act_then_close)

    rig.delivery.discard(list(receipt.record_ids.values()))

    assert rig.faulty.keys(LABEL) == []
