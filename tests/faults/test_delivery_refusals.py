"""Batches against a RushDB that refuses: no row poisoned by its neighbour, no limit met twice, no wait too short."""

from __future__ import annotations

import pytest

from byov_migrate.errors import Interrupted, MigrationError
from tests.faults.batches import LABEL, batch_of, numbered
from tests.faults.delivery_rig import Start
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
    act_then_close,
    act_twice_then_close,
    half_body,
    lose_commit,
    refuse,
    web_page,
)


@pytest.mark.parametrize("status", [400, 409, 422])
@pytest.mark.parametrize("position", range(5))
def test_one_poison_row_costs_one_row_wherever_it_stands(start: Start, status: int, position: int) -> None:
    """The server refuses the whole request and does not say which row it meant."""
    rig = start()
    poison = numbered(5)[position]

    def decide(seen: Seen) -> Fault | None:
        if seen.path.endswith(IMPORT) and any(row["byovKey"] == poison for row in seen.body["data"]):
            return refuse(status, {"message": "Import failed: canary-of-a-row"})
        return None

    rig.faulty.decide = decide
    accepted = rig.delivery.send(batch_of(numbered(5)))
    rig.delivery.confirm([accepted])
    rig.assert_stored([key for key in numbered(5) if key != poison])
    [reject] = accepted.rejected
    assert (reject.key, reject.stage, reject.code) == (poison, "write", f"http-{status}")
    assert "canary" not in reject.reason


def test_a_batch_of_nothing_but_poison_is_all_rejects_and_a_receipt_of_nothing(start: Start) -> None:
    """The batch is settled: its position may move on."""
    rig = start()
    rig.faulty.decide = lambda seen: refuse(422) if seen.path.endswith(IMPORT) else None
    accepted = rig.delivery.send(batch_of(["1", "2", "3"]))
    assert {row.key for row in accepted.rejected} == {"1", "2", "3"}
    [receipt] = rig.delivery.confirm([accepted])
    assert receipt.record_ids == {}


def test_a_row_that_is_refused_when_its_lost_batch_is_sent_again_is_a_reject_and_not_forgotten(start: Start) -> None:
    """Stored at first, lost, refused at the second try: the receipt must not speak for a row that is not there."""
    rig = start()
    keys = ["1", "2"]
    rig.faulty.on(IMPORT, lose_commit, refuse(422), None, refuse(422))
    [receipt] = rig.deliver(batch_of(keys, bare=keys))
    rig.assert_stored(["1"], vectors=0)
    assert set(receipt.record_ids) == {"1"}


@pytest.mark.parametrize("status", [408, 413])
def test_a_request_that_is_too_large_is_halved_until_it_fits(start: Start, status: int) -> None:
    """408 and 413 are rolled back; the same request again would meet the same limit."""
    rig = start()

    def decide(seen: Seen) -> Fault | None:
        too_large = seen.path.endswith(IMPORT) and len(seen.body["data"]) > 3
        return refuse(status) if too_large else None

    rig.faulty.decide = decide
    rig.deliver(batch_of(numbered(10)))
    rig.assert_stored(numbered(10))
    seen_before = len(rig.faulty.calls(IMPORT))
    rig.deliver(batch_of(numbered(10, start=11)))
    sizes = [len(seen.body["data"]) for seen in rig.faulty.calls(IMPORT)[seen_before:]]
    assert max(sizes) <= 3  # what was learnt is kept: the next batch is not refused first


@pytest.mark.parametrize("status", [408, 413])
def test_vectors_that_are_too_many_for_one_call_are_halved(start: Start, status: int) -> None:
    """The vectors call has the same limits as the create."""
    rig = start()

    def decide(seen: Seen) -> Fault | None:
        too_large = seen.path.endswith(UPSERT) and len(seen.body["items"]) > 2
        return refuse(status) if too_large else None

    rig.faulty.decide = decide
    rig.deliver(batch_of(numbered(7)))
    rig.assert_stored(numbered(7))


def test_a_single_row_that_is_too_large_is_rejected(start: Start) -> None:
    """There is nothing left to halve."""
    rig = start()
    rig.faulty.decide = lambda seen: refuse(413) if seen.path.endswith(IMPORT) else None
    accepted = rig.delivery.send(batch_of(["1"]))
    assert [(row.key, row.code) for row in accepted.rejected] == [("1", "too-large")]


@pytest.mark.parametrize(
    "fault",
    [
        refuse(429),
        refuse(429, headers={"retry-after": "3"}),
        refuse(403),
        refuse(400, {"message": "Import failed: ForsetiClient[7] can't acquire EXCLUSIVE ... deadlock wait cycle"}),
    ],
    ids=["429", "429 with Retry-After", "403 after success", "deadlock"],
)
@pytest.mark.parametrize("path", [IMPORT, UPSERT])
def test_a_refusal_that_passes_is_waited_out_and_sent_again(start: Start, path: str, fault: Fault) -> None:
    """The server did nothing: no look, no reject, no second copy."""
    rig = start()
    rig.faulty.on(path, fault, fault)
    rig.deliver(batch_of(["1", "2"]))
    rig.assert_stored(["1", "2"])
    assert len(rig.time.waits) == 2
    assert rig.faulty.calls(SEARCH) == []


def test_retry_after_is_a_floor_under_the_wait(start: Start) -> None:
    """A client that comes back too early is turned away again, or blocked."""
    rig = start()
    rig.faulty.on(IMPORT, refuse(429, headers={"retry-after": "40"}))
    rig.deliver(batch_of(["1"]))
    assert rig.time.waits[0] >= 40


@pytest.mark.parametrize("path", [SEARCH, STATS, VECTOR_SEARCH, DELETE])
def test_questions_and_deletes_are_asked_again_until_they_are_answered(start: Start, path: str) -> None:
    """A recovery that stops at the first hiccup would leave a batch unsettled for no reason."""
    rig = start()
    if path == STATS:
        rig.faulty.on(STATS, refuse(503), half_body, web_page, act_then(200, {}), act_then(200, {"data": None}))
    else:
        rig.faulty.on(IMPORT, act_twice_then_close)
        rig.faulty.on(UPSERT, lose_commit if path == VECTOR_SEARCH else None)
        rig.faulty.on(path, refuse(503), act_then_close)
    rig.deliver(batch_of(["1", "2"]))
    rig.assert_stored(["1", "2"])


def test_a_stop_ends_a_wait_at_once(start: Start) -> None:
    """A signal must not have to wait for the server's budget."""
    rig = start()
    rig.time.stopped = True
    rig.faulty.on(IMPORT, act_then_close)
    with pytest.raises(Interrupted):
        rig.delivery.send(batch_of(["1"]))


def test_looking_for_a_batch_finds_all_of_its_pages(start: Start) -> None:
    """A batch whose copies fill more than one page of the search must be seen whole."""
    rig = start()
    keys = numbered(700)
    batch = batch_of(keys, bare=keys)
    rig.faulty.on(IMPORT, act_twice_then_close)
    rig.deliver(batch)
    _, total = rig.faulty.honest_wire().find(LABEL, {"byovBatch": batch.id}, limit=1)
    assert total == len(keys)


def test_no_error_of_a_delivery_holds_a_value_of_a_row(start: Start) -> None:
    """What the server says quotes values; it goes no further than the status."""
    rig = start(give_up_after_s=1.0)
    rig.faulty.decide = lambda seen: refuse(429, {"message": "canary-5f0c"}) if seen.path.endswith(IMPORT) else None
    with pytest.raises(MigrationError) as caught:
        rig.delivery.send(batch_of(["1"]))
    assert "canary" not in f"{caught.value}{caught.value.__cause__}{caught.value.next_step}"
