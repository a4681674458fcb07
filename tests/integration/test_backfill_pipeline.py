"""The one loop, over a real state: positions never pass what is not proved, whatever fails and whenever."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from byov_migrate.errors import ConsentNeeded, Interrupted, MigrationError, Refused, Unavailable
from byov_migrate.jobs.surroundings import Progress, Surroundings
from byov_migrate.state import open_state
from tests.faults.pipeline_rig import BATCHES, BORDER, ROWS, TABLE, Rig, ScriptedDelivery


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A planned table in a new state."""
    told: list[Progress] = []
    with contextlib.closing(open_state(tmp_path / "state.db", lambda: 5.0, create=True)) as state:
        state.journal.store_plan(TABLE, [(str(BORDER),)], rows=ROWS, snapshot="1:2:")
        yield Rig(state, Surroundings(progress=told.append), told=told)


@pytest.mark.parametrize("page_rows", [1, 4, 5, 7, 60, 100])
@pytest.mark.parametrize("batch_rows", [1, 5, 7, 100])
def test_every_row_arrives_once_whatever_the_sizes(rig: Rig, page_rows: int, batch_rows: int) -> None:
    """Pages larger and smaller than batches, borders of ranges inside of batches."""
    rig.page_rows, rig.batch_rows = page_rows, batch_rows
    delivery = ScriptedDelivery(rig.state)
    totals = rig.run(delivery)
    assert sorted(map(int, delivery.stored)) == list(range(1, ROWS + 1))
    assert rig.known == rig.passed == set(range(1, ROWS + 1))
    assert (totals.rows, totals.vectors) == (ROWS, ROWS)
    assert rig.state.journal.intents(TABLE) == []
    plan = rig.state.journal.plan(TABLE)
    assert plan is not None
    assert plan.ranges_done == plan.ranges == 2
    assert rig.told[-1].confirmed == ROWS


@pytest.mark.parametrize("failing", range(1, BATCHES + 1))
@pytest.mark.parametrize("writers", [1, 3])
def test_a_send_that_fails_anywhere_holds_the_positions_before_it(rig: Rig, failing: int, writers: int) -> None:
    """Later batches may have arrived already: a position beyond the gap would lose it for ever."""
    rig.writers = writers
    first = ScriptedDelivery(rig.state, fail_send=failing)
    with pytest.raises(Unavailable):
        rig.run(first)
    rig.assert_nothing_passed_unsettled()
    settled = len(rig.known)
    if writers == 1:  # sent in order: exactly what came before the failure is proved
        assert rig.known == {int(key) for batch in first.batches[: failing - 1] for key in batch}
    second = ScriptedDelivery(rig.state)
    totals = rig.run(second)
    assert rig.known == rig.passed == set(range(1, ROWS + 1))
    assert totals.rows == ROWS - settled  # what was proved is not sent again


@pytest.mark.parametrize("failing", [1, 2])
def test_a_proof_that_fails_moves_nothing_of_its_checkpoint(rig: Rig, failing: int) -> None:
    """The intents stay, so that the next run looks before it sends."""
    with pytest.raises(Unavailable):
        rig.run(ScriptedDelivery(rig.state, fail_send=BATCHES, fail_confirm=failing))
    rig.assert_nothing_passed_unsettled()
    if failing == 1:
        assert rig.known == set()
        assert rig.state.journal.intents(TABLE)


def test_no_batch_is_sent_before_it_is_written_down(rig: Rig) -> None:
    """A run that is killed between the two would not know what to look for."""
    delivery = ScriptedDelivery(rig.state)
    rig.run(delivery)
    assert delivery.sends >= BATCHES
    assert delivery.unannounced == []


def test_a_read_that_fails_settles_what_flies(rig: Rig) -> None:
    """The error is the reader's, not one of the settling."""
    rig.broken_at = 50
    delivery = ScriptedDelivery(rig.state)
    with pytest.raises(Refused, match="not what it was"):
        rig.run(delivery)
    rig.assert_nothing_passed_unsettled()
    assert rig.known == {int(key) for key in delivery.stored}


@pytest.mark.parametrize("page_rows", [7, ROWS])
@pytest.mark.parametrize("number", [1, 3, BATCHES])
def test_a_stop_drains(rig: Rig, number: int, page_rows: int) -> None:
    """Nothing new is sent, what was sent is proved, and the exit says interrupted; also within a page."""
    rig.page_rows = page_rows
    sent_at_stop: list[int] = []

    def stop(sending: int) -> None:
        if sending == number:
            rig.around.stop.set()
            sent_at_stop.append(delivery.sends)  # the other writer goes on between the two: what counts is what follows

    delivery = ScriptedDelivery(rig.state, on_send=stop)
    with pytest.raises(Interrupted):
        rig.run(delivery)
    assert delivery.sends <= sent_at_stop[0] + rig.writers  # what a writer holds already, and the one being handed over
    assert rig.known == {int(key) for key in delivery.stored}
    assert rig.state.journal.intents(TABLE) == []
    rig.assert_nothing_passed_unsettled()
    rig.around.stop.clear()
    rig.run(ScriptedDelivery(rig.state))
    assert rig.known == set(range(1, ROWS + 1))


def test_a_stop_sends_no_half_batch(rig: Rig) -> None:
    """What waits to become a batch is read again by the next run; sending it would use up the grace."""
    rig.batch_rows, rig.stop_at = 1000, 20
    delivery = ScriptedDelivery(rig.state)
    with pytest.raises(Interrupted):
        rig.run(delivery)
    assert delivery.sends == 0
    assert rig.passed == set()


def test_a_stop_before_the_start_does_nothing(rig: Rig) -> None:
    """A signal while the model was loading."""
    rig.around.stop.set()
    delivery = ScriptedDelivery(rig.state)
    with pytest.raises(Interrupted):
        rig.run(delivery)
    assert delivery.sends == 0
    assert rig.passed == set()


def test_rows_that_are_stored_already_are_not_sent_again(rig: Rig) -> None:
    """An earlier run proved batches beyond its position, or recovered them."""
    first = ScriptedDelivery(rig.state)
    rig.run(first)
    rig.state.journal.store_plan("public.other", [], rows=0, snapshot="1:2:")
    with rig.state.store.writing() as connection:
        connection.exec_driver_sql("UPDATE range SET position = NULL, done = 0")
    second = ScriptedDelivery(rig.state)
    assert rig.run(second).rows == 0
    assert second.stored == []
    assert rig.passed == set(range(1, ROWS + 1))


def test_rejects_of_reading_and_writing_are_kept_and_passed(rig: Rig) -> None:
    """One poison row costs one row."""
    rig.rejects = frozenset({3, 35, 60})
    totals = rig.run(ScriptedDelivery(rig.state, refuse=frozenset({"1", "36"})))
    rejected = {int(row["key"]): row["stage"] for row in rig.state.ledger.rejects(TABLE)}
    assert rejected == {3: "read", 35: "read", 60: "read", 1: "write", 36: "write"}
    assert rig.known == set(range(1, ROWS + 1)) - set(rejected)
    assert rig.passed == set(range(1, ROWS + 1))
    assert (totals.rejected, totals.rejected_new, totals.rows) == (5, 5, ROWS - 5)


def test_a_page_of_nothing_but_rejects_moves_the_position(rig: Rig) -> None:
    """Else the range would never end."""
    rig.rejects = frozenset(range(1, ROWS + 1))
    delivery = ScriptedDelivery(rig.state)
    rig.run(delivery)
    assert delivery.sends == 0
    assert rig.passed == set(range(1, ROWS + 1))


@pytest.mark.parametrize("writers", [1, 3])
def test_too_many_rejects_of_reading_stop_the_run(rig: Rig, writers: int) -> None:
    """A wrong setting must not park the whole table."""
    rig.rejects, rig.reject_ceiling, rig.writers = frozenset(range(1, ROWS, 2)), 10, writers
    with pytest.raises(ConsentNeeded) as caught:
        rig.run(ScriptedDelivery(rig.state))
    assert caught.value.exit_code == 6
    assert caught.value.next_step == "byov-migrate rejects list"
    assert 10 < rig.state.ledger.count_rejects(TABLE) < 10 + 2 * rig.page_rows
    rig.assert_nothing_passed_unsettled()


def test_as_many_rejects_as_the_ceiling_allows_are_no_reason_to_stop(rig: Rig) -> None:
    """The ceiling is the last number that is allowed."""
    rig.rejects, rig.reject_ceiling = frozenset(range(1, 11)), 10
    assert rig.run(ScriptedDelivery(rig.state)).rejected == 10


def test_too_many_rejects_of_writing_stop_the_run_too(rig: Rig) -> None:
    """A target that refuses every row, in a table so small that it is all one checkpoint."""
    rig.reject_ceiling = 10
    with pytest.raises(ConsentNeeded):
        rig.run(ScriptedDelivery(rig.state, refuse=frozenset(map(str, range(1, ROWS + 1)))))


def test_memory_stays_bounded_when_the_target_is_slow(rig: Rig) -> None:
    """Writers work side by side; reading waits for them."""
    rig.writers, rig.page_rows = 3, 5
    slow = threading.Event()
    read_when_third_began: list[int] = []

    def on_send(number: int) -> None:
        if number == 3:
            slow.wait(0.3)
            read_when_third_began.append(len(rig.read))
            slow.set()
        slow.wait(5)

    delivery = ScriptedDelivery(rig.state, on_send=on_send)
    rig.run(delivery)
    assert delivery.most_at_once == 3
    assert read_when_third_began[0] < ROWS


@pytest.mark.parametrize("error", [ZeroDivisionError, MemoryError])
def test_a_bug_passes_through_and_moves_nothing(rig: Rig, error: type[Exception]) -> None:
    """Nothing is settled on the word of a program that has lost its way."""

    def on_send(number: int) -> None:
        if number == 2:
            raise error

    with pytest.raises(error):
        rig.run(ScriptedDelivery(rig.state, on_send=on_send))
    rig.assert_nothing_passed_unsettled()


def test_a_run_that_lost_the_state_changes_nothing(rig: Rig) -> None:
    """It was suspended, and another run took over meanwhile."""
    with contextlib.closing(open_state(rig.state.store.path, lambda: 6.0, create=False)) as other:

        def on_send(number: int) -> None:
            if number == 3:
                other.runs.begin_run("sync")

        with pytest.raises(MigrationError, match="another run"):
            rig.run(ScriptedDelivery(rig.state, on_send=on_send))
    assert rig.known == set()
    assert rig.passed == set()
