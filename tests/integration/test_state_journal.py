"""The journal: what is planned, under way and proved; every change and the record of it at once or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from byov_migrate.errors import Unavailable
from byov_migrate.records import Batch, KeyRange, Position, Receipt, Rejected
from byov_migrate.state import State, open_state, schema
from tests.faults.batches import batch_of, numbered

TABLE = "public.job"
PROPERTIES = ["description"]
NOW = 1_700_000_000.0


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """A state with a run and a plan of three ranges."""
    opened = open_state(tmp_path / "state.db", lambda: NOW, create=True)
    opened.runs.begin_run("backfill")
    opened.journal.store_plan(TABLE, [("10",), ("20",)], rows=25, snapshot="1:2:")
    yield opened
    opened.close()


def receipt_for(batch: Batch, keys: list[str] | None = None) -> Receipt:
    """A receipt as the target would give it, for all rows or for these."""
    known = [item.document.key for item in batch.rows] if keys is None else keys
    return Receipt(batch, {key: f"id-{key}" for key in known})


def reject(key: str, **changes: Any) -> Rejected:
    """A row that cannot be sent."""
    return replace(Rejected(key, (key,), "read", "not-finite", "is NaN", "salary", "types"), **changes)


def everything(state: State) -> dict[str, list[dict[str, Any]]]:
    """The whole contents of the state."""
    tables = [schema.key_range, schema.intent, schema.ledger, schema.vector, schema.reject]
    return {table.name: state.store.rows(table.select()) for table in tables}


def test_a_plan_is_consecutive_ranges_open_at_both_ends(state: State) -> None:
    """Rows that are inserted below the first or above the last key belong to a range too."""
    assert state.journal.open_ranges(TABLE) == [
        KeyRange(1, None, ("10",)),
        KeyRange(2, ("10",), ("20",)),
        KeyRange(3, ("20",), None),
    ]
    plan = state.journal.plan(TABLE)
    assert plan is not None
    assert (plan.rows, plan.snapshot, plan.planned_at, plan.ranges, plan.ranges_done) == (25, "1:2:", NOW, 3, 0)
    assert state.journal.plan("public.other") is None
    assert state.journal.open_ranges("public.other") == []


def test_a_plan_of_an_empty_table_is_one_open_range(state: State) -> None:
    """What is inserted later is read by it."""
    state.journal.store_plan("public.empty", [], rows=0, snapshot="1:2:")
    assert state.journal.open_ranges("public.empty") == [KeyRange(4, None, None)]


def test_a_composite_key_keeps_its_parts(state: State) -> None:
    """Text of PostgreSQL, whatever is in it."""
    bound = ("a,b", '["', "", "ü")
    state.journal.store_plan("public.pair", [bound], rows=2, snapshot="1:2:")
    assert [item.upper for item in state.journal.open_ranges("public.pair")] == [bound, None]


def test_the_last_range_is_always_open(state: State) -> None:
    """Rows are added at the end while a backfill is stopped for a week."""
    done = [Position(number, (str(number),), done=True) for number in (1, 2, 3)]
    state.journal.advance(TABLE, [receipt_for(batch_of(["1"], covers=done))], PROPERTIES)
    assert state.journal.open_ranges(TABLE) == [KeyRange(3, ("20",), None, ("3",))]
    plan = state.journal.plan(TABLE)
    assert plan is not None
    assert plan.ranges_done == 3


def test_an_empty_page_at_the_end_keeps_the_position(state: State) -> None:
    """`upto` None means that nothing was read, not that everything is to be read again."""
    here, end = Position(1, ("5",), done=False), Position(1, None, done=True)
    state.journal.advance(TABLE, [receipt_for(batch_of(["5"], covers=[here]))], PROPERTIES)
    state.journal.advance(TABLE, [receipt_for(batch_of([], covers=[end]))], PROPERTIES)
    rows = everything(state)["range"]
    assert (rows[0]["position"], rows[0]["done"]) == (["5"], True)


def test_an_intent_is_read_back_as_it_was_written(state: State) -> None:
    """A later run has nothing else to recognise the batch by: scores must come back to the last bit."""
    batch = batch_of(["1", "2"], bare=["2"])
    state.journal.intend(TABLE, batch, PROPERTIES)
    [intent] = state.journal.intents(TABLE)
    assert (intent.batch, intent.sent_at) == (batch.id, NOW)
    first, second = intent.rows
    assert (first.key, first.hash) == ("1", batch.rows[0].document.hash)
    assert first.vectors == {"description": (batch.rows[0].document.text_hashes[0], batch.rows[0].scores[0])}
    assert second.vectors == {}


def test_an_intent_names_the_run_that_made_it_and_its_table(state: State) -> None:
    """Two tables share one state."""
    state.journal.intend(TABLE, batch_of(["1"]), PROPERTIES)
    state.journal.intend("public.other", batch_of(["2"]), PROPERTIES)
    assert len(state.journal.intents(TABLE)) == 1
    assert {row["run"] for row in everything(state)["intent"]} == {state.store.run}


def test_a_batch_that_is_intended_twice_is_one_intent(state: State) -> None:
    """Its name comes from its content; a resent batch is the same batch."""
    for _ in range(2):
        state.journal.intend(TABLE, batch_of(["1"]), PROPERTIES)
    assert len(state.journal.intents(TABLE)) == 1


def test_an_advance_moves_everything_at_once(state: State) -> None:
    """Ledger, vectors, position, intent and rejects."""
    batch = batch_of(["1", "2", "3"], bare=["3"], covers=[Position(1, ("3",), done=False)])
    state.journal.intend(TABLE, batch, PROPERTIES)
    added = state.journal.advance(TABLE, [receipt_for(batch)], PROPERTIES, [reject("4")])
    after = everything(state)
    assert added == 1
    assert after["intent"] == []
    assert [(row["key"], row["record_id"], row["batch"]) for row in after["ledger"]] == [
        (key, f"id-{key}", batch.id) for key in ("1", "2", "3")
    ]
    assert [row["key"] for row in after["vector"]] == ["1", "2"]
    assert after["range"][0]["position"] == ["3"]
    [row] = state.ledger.rejects(TABLE)
    assert (row["key"], row["code"], row["attempts"], row["setting"]) == ("4", "not-finite", 1, "types")
    assert state.ledger.count_records(TABLE) == 3
    assert state.ledger.count_vectors(TABLE, "description") == 2
    assert state.ledger.known_keys(TABLE, ["1", "3", "9"]) == {"1", "3"}
    assert state.ledger.record_id(TABLE, "2") == "id-2"
    assert state.ledger.record_id(TABLE, "9") is None
    assert dict(state.ledger.vectors(TABLE, "description"))["1"] == pytest.approx(batch.rows[0].scores[0], abs=0)


def test_rows_that_the_receipt_does_not_name_are_not_in_the_ledger(state: State) -> None:
    """They were refused; the position moves over them, their reject stays."""
    batch = batch_of(["1", "2"], covers=[Position(1, ("2",), done=False)])
    state.journal.advance(TABLE, [receipt_for(batch, ["1"])], PROPERTIES, [reject("2", stage="write")])
    assert state.ledger.known_keys(TABLE, ["1", "2"]) == {"1"}
    assert state.ledger.count_rejects(TABLE) == 1


@contextmanager
def failing_at(state: State, statement: int) -> Iterator[list[str]]:
    """The disk is full at the statement of this number; yields the statements that were tried."""
    tried: list[str] = []

    def fail(_connection: object, _cursor: object, text: str, *_others: object) -> None:
        tried.append(text)
        if len(tried) == statement:
            raise OSError(28, "No space left on device")

    engine = state.store._engine
    event.listen(engine, "before_cursor_execute", fail)
    try:
        yield tried
    finally:
        event.remove(engine, "before_cursor_execute", fail)


def test_an_advance_that_fails_anywhere_changes_nothing(state: State) -> None:
    """Each statement of the transaction fails in turn: no half of an advance may stay."""
    batches = [batch_of([str(n)], covers=[Position(n, (str(n),), done=True)]) for n in (1, 2)]
    for batch in batches:
        state.journal.intend(TABLE, batch, PROPERTIES)
    receipts = [receipt_for(batch) for batch in batches]
    before = everything(state)
    for statement in range(1, 100):
        with failing_at(state, statement) as tried:
            try:
                state.journal.advance(TABLE, receipts, PROPERTIES, [reject("9")])
            except Unavailable:
                pass
            else:
                break
        assert everything(state) == before, tried[-1]
    assert statement > 10
    assert state.ledger.count_records(TABLE) == 2


def test_a_row_that_arrived_is_no_reject_any_more(state: State) -> None:
    """The setting was mended, and the row was sent."""
    state.journal.advance(TABLE, [], PROPERTIES, [reject("1"), reject("2")])
    state.journal.advance(TABLE, [receipt_for(batch_of(["1"]))], PROPERTIES)
    assert [row["key"] for row in state.ledger.rejects(TABLE)] == ["2"]


def test_a_reject_that_is_met_again_is_counted_and_renewed(state: State) -> None:
    """Exit code 3 is for rows that were not rejected before; the reason is the newest."""
    assert state.journal.advance(TABLE, [], PROPERTIES, [reject("1")]) == 1
    assert (
        state.journal.advance(TABLE, [], PROPERTIES, [reject("1", code="too-long", reason="is long"), reject("2")]) == 1
    )
    first = state.ledger.rejects(TABLE)[0]
    assert (first["attempts"], first["code"], first["reason"]) == (2, "too-long", "is long")
    assert state.ledger.count_rejects(TABLE) == 2
    assert state.ledger.rejects("public.other") == []


def test_many_keys_are_asked_in_portions(state: State) -> None:
    """SQLite allows a limited number of variables."""
    keys = numbered(1203)
    batch = batch_of(keys[:1000])
    state.journal.advance(TABLE, [], PROPERTIES, [reject(key) for key in keys])
    state.journal.advance(TABLE, [receipt_for(batch)], PROPERTIES)
    assert state.ledger.known_keys(TABLE, keys) == set(keys[:1000])
    assert state.ledger.count_rejects(TABLE) == 203


def test_an_old_intent_is_settled_without_its_rows(state: State) -> None:
    """What a killed run sent and this one found whole in the target."""
    batch = batch_of(["1", "2"], bare=["2"], covers=[Position(1, ("2",), done=False)])
    state.journal.intend(TABLE, batch, PROPERTIES)
    state.journal.advance(TABLE, [], PROPERTIES, [reject("1")])
    [intent] = state.journal.intents(TABLE)
    state.journal.settle_intent(TABLE, intent, {"1": "id-1", "2": "id-2"})
    settled = everything(state)
    assert settled["intent"] == []
    assert settled["reject"] == []
    assert [row["batch"] for row in settled["ledger"]] == [batch.id] * 2
    assert settled["range"][0]["position"] is None  # only pages move positions; known rows are skipped when read
    assert dict(state.ledger.vectors(TABLE, "description")).keys() == {"1"}
    by_receipt = everything(state)
    state.journal.advance(TABLE, [receipt_for(replace(batch, covers=()))], PROPERTIES)
    assert everything(state) == by_receipt  # both ways write the same rows


def test_an_intent_that_is_dropped_leaves_no_trace(state: State) -> None:
    """Its rows are read again."""
    batch = batch_of(["1"])
    state.journal.intend(TABLE, batch, PROPERTIES)
    state.journal.drop_intent(batch.id)
    assert state.journal.intents(TABLE) == []
    assert state.ledger.count_records(TABLE) == 0
