"""A second index of a label, made when the records are there: what a better model needs beside the one in use."""

from __future__ import annotations

import pytest

from tests.contract.rushdb_api import Rushdb, data, eventually

NORTH, EAST = [0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]
LONG = [0.0, 0.0, 0.6, 0.0, 0.8]
ROWS = 3


@pytest.fixture
def other(text: str) -> str:
    """The spare property's name."""
    return f"{text}Alt"


@pytest.fixture
def ids(rushdb: Rushdb, label: str, text: str, other: str) -> list[str]:
    """Records with both properties empty, and vectors under the first."""
    index = rushdb.index(label, text)
    records = rushdb.create(label, [{"k": str(number), text: "", other: ""} for number in range(ROWS)])
    found = [record["__id"] for record in sorted(records, key=lambda record: int(record["k"]))]
    rushdb.put_vectors(index, [(record_id, NORTH) for record_id in found])
    return found


def keys(rushdb: Rushdb, label: str, name: str, vector: list[float]) -> list[str]:
    """Of the records that an exact search finds."""
    return sorted(record["k"] for record in rushdb.exact(label, name, vector))


def test_an_index_on_a_property_that_is_there_takes_vectors_and_writes_no_record(
    rushdb: Rushdb, label: str, text: str, other: str, ids: list[str]
) -> None:
    """Of another size too; the first index keeps its vectors, and the records are byte for byte what they were."""
    before = [rushdb.record(record_id) for record_id in ids]
    index = rushdb.index(label, other, dimensions=len(LONG))
    assert rushdb.stats(index) == (ROWS, 0)
    rushdb.put_vectors(index, [(record_id, LONG) for record_id in ids[:2]])
    assert rushdb.stats(index) == (ROWS, 2)
    assert keys(rushdb, label, other, LONG) == ["0", "1"]
    assert keys(rushdb, label, text, NORTH) == ["0", "1", "2"]
    assert [rushdb.record(record_id) for record_id in ids] == before


def test_a_rewritten_record_loses_both_vectors_and_an_appended_one_none(
    rushdb: Rushdb, label: str, text: str, other: str, ids: list[str]
) -> None:
    """Whoever rewrites has both to send again."""
    index = rushdb.index(label, other)
    rushdb.put_vectors(index, [(record_id, EAST) for record_id in ids])
    body = {"label": label, "data": {"k": "0", text: "", other: ""}, "options": {"suggestTypes": True}}
    data(rushdb.call("PUT", f"/records/{ids[0]}", body), 201)
    rushdb.create(label, [{"k": "1", text: "", other: "", "more": "x"}], mergeBy=["k"])
    assert keys(rushdb, label, text, NORTH) == ["1", "2"]
    assert keys(rushdb, label, other, EAST) == ["1", "2"]


def test_a_search_for_keys_proves_vectors_that_no_batch_names(
    rushdb: Rushdb, label: str, other: str, ids: list[str]
) -> None:
    """By `$in`, and only among those."""
    index = rushdb.index(label, other)
    rushdb.put_vectors(index, [(record_id, EAST) for record_id in ids])
    found = rushdb.exact(label, other, EAST, where={"k": {"$in": ["0", "2", "none"]}})
    assert sorted(record["k"] for record in found) == ["0", "2"]


def test_a_deleted_index_takes_its_vectors_and_leaves_the_others(
    rushdb: Rushdb, label: str, text: str, other: str, ids: list[str]
) -> None:
    """Not at once: one that is made anew on the property shows them for a while."""
    index = rushdb.index(label, other)
    rushdb.put_vectors(index, [(record_id, EAST) for record_id in ids])
    data(rushdb.call("DELETE", f"/ai/indexes/{index}"), 202)
    assert index not in {row["id"] for row in data(rushdb.call("GET", "/ai/indexes"))}
    again = rushdb.index(label, other)
    assert eventually(lambda: rushdb.stats(again) == (ROWS, 0))
    rushdb.put_vectors(again, [(ids[0], EAST)])
    assert keys(rushdb, label, other, EAST) == ["0"]
    assert keys(rushdb, label, text, NORTH) == ["0", "1", "2"]
