"""What a sync keeps in the state: where it begins, what is unsettled, key sets, cached vectors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from byov_migrate.records import Batch, Document, Embedded, Known, Receipt, Rejected, Way
from byov_migrate.state import State, open_state
from byov_migrate.state.cursors import Sweep
from byov_migrate.state.keysets import KeySets

TABLE = "public.job"
PROPERTIES = ("description",)
CURSOR = {"snapshot": "1:1:", "watermark": None, "lsn": "0/1", "timeline": 1, "in_recovery": False}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """A state under a run, keeping vectors, with two planned ranges."""
    opened = open_state(tmp_path / "jobs.state.db", lambda: 1000.0, create=True, keep_vectors=True)
    opened.runs.begin_run("sync")
    yield opened
    opened.close()


def batch(name: str, keys: list[str], *, way: Way = "create", mark: str | None = "text:model") -> Batch:
    """Rows with a vector each, unless `mark` is None."""
    vector = None if mark is None else np.ones(3, dtype=np.float32)
    scores = None if mark is None else (0.1, 0.2, 0.3)
    known = None if way == "create" else Known("id", "old", (mark,))
    rows = tuple(
        Embedded(Document(key, (key,), f"hash-{name}", {}, (mark,), way, known), (vector,), (scores,)) for key in keys
    )
    return Batch(name, rows, way=way)


def store(state: State, sent: Batch) -> None:
    """Intend and settle."""
    state.journal.intend(TABLE, sent, PROPERTIES)
    ids = {item.document.key: f"id-{item.document.key}" for item in sent.rows}
    state.journal.advance(TABLE, [Receipt(sent, ids)], PROPERTIES)


def test_what_is_being_written_over_is_not_known_until_it_is_settled(state: State) -> None:
    """A run that is killed in between must not leave the old hash standing: the row may change back to it."""
    store(state, batch("b1", ["1", "2"]))
    rewriting = batch("b2", ["1"], way="rewrite")
    state.journal.intend(TABLE, rewriting, PROPERTIES)
    known = state.ledger.known(TABLE, ["1", "2"], PROPERTIES)
    assert (known["1"].record_id, known["1"].hash, known["1"].text_hashes) == ("id-1", "", (None,))
    assert (known["2"].hash, known["2"].text_hashes) == ("hash-b1", ("text:model",))
    assert state.ledger.unsettled(TABLE) == ["1"]
    state.journal.advance(TABLE, [Receipt(rewriting, {"1": "id-1"})], PROPERTIES)
    assert state.ledger.unsettled(TABLE) == []
    assert state.ledger.known(TABLE, ["1"], PROPERTIES)["1"].hash == "hash-b2"


def test_appending_leaves_what_is_known_of_the_vector(state: State) -> None:
    """The record keeps it, so verify must still find its scores."""
    store(state, batch("b1", ["1"]))
    appended = batch("b2", ["1"], way="append", mark="text:model")
    bare = Batch("b2", tuple(Embedded(item.document, (None,), (None,)) for item in appended.rows), way="append")
    store(state, bare)
    known = state.ledger.known(TABLE, ["1"], PROPERTIES)["1"]
    assert (known.hash, known.text_hashes) == ("hash-b2", ("text:model",))
    assert dict(state.ledger.vectors(TABLE, "description")) == {"1": (0.1, 0.2, 0.3)}


def test_a_removal_is_unsettled_until_it_is_done_and_leaves_nothing(state: State) -> None:
    """Record, vectors, cached vectors and reject go together."""
    store(state, batch("b1", ["1", "2"]))
    state.journal.advance(TABLE, [], PROPERTIES, [Rejected("1", ("1",), "read", "nan", "not a number")])
    state.journal.begin_removal(TABLE, ["1"])
    assert state.ledger.unsettled(TABLE) == []  # rejected ones are tried again when their row changes
    state.journal.end_removal(TABLE, ["1"])
    assert state.ledger.known(TABLE, ["1", "2"], PROPERTIES).keys() == {"2"}
    assert state.ledger.count_vectors(TABLE, "description") == 1
    assert state.ledger.count_rejects(TABLE) == 0
    assert state.cache.vectors(TABLE, "description", {"1": "text:model", "2": "text:model"}).keys() == {"2"}


def test_a_cached_vector_is_that_of_one_text(state: State) -> None:
    """Of another text, or of a vector that stands in PostgreSQL anyway, there is none."""
    store(state, batch("b1", ["1"]))
    store(state, batch("b2", ["2"], mark="vector:ready"))
    found = state.cache.vectors(TABLE, "description", {"1": "text:model", "2": "vector:ready"})
    assert found["1"].tolist() == [1.0, 1.0, 1.0]
    assert found.keys() == {"1"}
    assert state.cache.vectors(TABLE, "description", {"1": "other:model"}) == {}


def test_a_cursor_moves_and_forgets_its_sum_before_keys_come_or_go(state: State) -> None:
    """A sum that fits by chance after a kill would hide deletes."""
    assert state.cursors.of(TABLE) is None
    state.cursors.begin(TABLE, CURSOR)
    begun = state.cursors.of(TABLE)
    assert begun is not None
    assert (begun.cursor, begun.synced_at, begun.swept_at, begun.checksum) == (CURSOR, None, None, None)
    state.cursors.move(TABLE, {**CURSOR, "lsn": "0/2"}, Sweep(5, "77"))
    moved = state.cursors.of(TABLE)
    assert moved is not None
    assert (moved.cursor["lsn"], moved.swept_at, moved.rows, moved.checksum) == ("0/2", 1000.0, 5, "77")
    state.cursors.distrust(TABLE)
    state.cursors.move(TABLE, CURSOR, None)
    after = state.cursors.of(TABLE)
    assert after is not None
    assert (after.swept_at, after.rows, after.checksum) == (1000.0, None, None)


def test_key_sets_tell_what_is_missing_and_what_is_unfounded(state: State) -> None:
    """Rejected rows are accounted for; another table's keys are nobody's business."""
    store(state, batch("b1", ["1", "2", "3"]))
    state.journal.advance(TABLE, [], PROPERTIES, [Rejected("9", ("9",), "read", "nan", "not a number")])
    with KeySets(state.store.path) as sets:
        assert sets.add((key, (key, "x")) for key in ["2", "3", "4", "9"]) == 4
        assert list(sets.missing(TABLE)) == [("4", "x")]
        assert list(sets.unfounded(TABLE)) == ["1"]
        assert (sets.known(TABLE), sets.count()) == (2, 4)
        assert sorted(sets.missing("public.other")) == [("2", "x"), ("3", "x"), ("4", "x"), ("9", "x")]
    assert state.ledger.count_unknown_rejects(TABLE) == 1


def test_a_state_of_before_gets_its_new_tables(tmp_path: Path) -> None:
    """An older version's file is completed when it is opened."""
    path = tmp_path / "jobs.state.db"
    open_state(path, lambda: 0.0, create=True).close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE sync")
        connection.execute("DROP TABLE vector_cache")
    again = open_state(path, lambda: 0.0, create=False)
    assert again.cursors.of(TABLE) is None
    again.close()
