"""`/records/search`: pages, order, filters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.rushdb_api import Rushdb, data, message

ROWS = [
    {"n": 0, "k": "0", "flag": True, "tags": ["z"], "name": "Berlin, DE", "day": "2024-01-01", "mixed": "0"},
    {"n": 1, "k": "1", "flag": False, "tags": ["x", "y"], "name": "Berlin, DE", "day": "2024-01-02", "mixed": 1},
    {"n": 2, "k": "2", "flag": True, "tags": ["x", "y"], "name": "Ulm", "day": "2024-01-03", "mixed": "2"},
    {"n": 3, "k": "3", "flag": False, "tags": ["x", "y"], "name": "Ulm", "day": "2024-01-04", "mixed": 3},
    {"n": 9, "k": "9"},
]


@pytest.fixture
def filled(rushdb: Rushdb, label: str) -> str:
    """A label with ROWS."""
    rushdb.create(label, ROWS)
    return label


def numbers(rushdb: Rushdb, label: str, where: Any = None, **query: Any) -> list[int]:
    """`n` of the records found, in their order."""
    return [record["n"] for record in rushdb.find(label, where, **query)]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"n": 1}, [1]),
        ({"n": "1"}, []),
        ({"k": "1"}, [1]),
        ({"k": 1}, []),
        ({"flag": True}, [2, 0]),
        ({"flag": 1}, []),
        ({"n": {"$eq": 1}}, [1]),
        ({"n": {"$ne": 1}}, [9, 3, 2, 0]),
        ({"name": {"$ne": "Ulm"}}, [1, 0]),
        ({"tags": "x"}, [3, 2, 1]),
        ({"tags": {"$ne": "x"}}, [3, 2, 1, 0]),
        ({"n": {"$in": [1, 2]}}, [2, 1]),
        ({"k": {"$in": ["1", "9", "none"]}}, [9, 1]),
        ({"tags": {"$in": ["z", "q"]}}, [0]),
        ({"n": {"$nin": [1, 2]}}, [9, 3, 0]),
        ({"n": {"$gt": 1, "$lt": 9}}, [3, 2]),
        ({"n": {"$gte": 1, "$lte": 2}}, [2, 1]),
        ({"mixed": {"$gt": 0}}, [3, 1]),
        ({"mixed": "2"}, [2]),
        ({"day": "2024-01-02"}, [1]),
        ({"day": {"$gt": "2024-01-02"}}, [3, 2]),
        ({"day": {"$lte": "2024-01-02T00:00:00Z"}}, [1, 0]),
        ({"day": {"$year": 2024, "$month": 1, "$day": 2}}, [1]),
        ({"n": {"$gt": "2024-01-01"}}, []),
        ({"name": {"$contains": "berlin"}}, [1, 0]),
        ({"name": {"$contains": "B.r"}}, [1, 0]),
        ({"name": {"$startsWith": "Ber"}}, [1, 0]),
        ({"name": {"$startsWith": "ber"}}, []),
        ({"name": {"$endsWith": "DE"}}, [1, 0]),
        ({"name": {"$exists": True}}, [3, 2, 1, 0]),
        ({"name": {"$exists": False}}, [9]),
        ({"name": None}, [9]),
        ({"name": {"$eq": None}}, [9]),
        ({"name": {"$ne": None}}, [3, 2, 1, 0]),
        ({"flag": {"$in": [True]}}, [2, 0]),
        ({"day": {"$ne": {"$year": 2024, "$month": 1, "$day": 2}}}, [3, 2, 0]),
        ({"day": {"$type": "datetime"}}, [3, 2, 1, 0]),
        ({"mixed": {"$type": "number"}}, [3, 1]),
        ({"$or": [{"n": 1}, {"n": 2}]}, [2, 1]),
        ({"$or": {"n": 1, "k": "2"}}, [2, 1]),
        ({"$and": [{"n": {"$gt": 1}}, {"n": {"$lt": 3}}]}, [2]),
        ({"$not": {"n": 1}}, [9, 3, 2, 0]),
        ({"$not": {"name": "Ulm"}}, [1, 0]),
        ({"$not": [{"n": 1}, {"n": 2}]}, [9, 3, 2, 1, 0]),
        ({"$nor": [{"n": 1}, {"n": 2}]}, [9, 3, 0]),
        ({"$xor": [{"n": 1}, {"flag": False}]}, [3]),
        ({"name": {"$not": {"$contains": "Ulm"}}}, [1, 0]),
        ({"n": {"$or": [{"$lt": 1}, {"$gt": 3}]}}, [9, 0]),
        ({"n": 1, "k": "1"}, [1]),
        ({"n": 1, "k": "2"}, []),
        ({"$id": "none"}, []),
        ({"name": 'quote"d'}, []),
        ({"name": "back\\slash"}, []),
        ({"n": [1, 2]}, []),
        ({"unknown": "x"}, []),
    ],
    ids=str,
)  # fmt: skip
def test_a_where_finds_the_rows_it_describes(rushdb: Rushdb, filled: str, where: Any, found: list[int]) -> None:
    """Types are strict, one element of a list is enough, and what is absent fulfils no comparison, negated or not."""
    response = rushdb.search(filled, where)
    assert found == [record["n"] for record in data(response)]
    assert len(found) == response.json()["total"]


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"k": {"$gt": "1"}}, "Value \"1\" of type string couldn't be used with '$gt' operator."),
        ({"n": {"$in": []}}, "Value [] of type object couldn't be used with '$in' operator."),
        ({"n": {"$in": [1, "2"]}}, "couldn't be used with '$in' operator."),
        ({"n": {"$exists": 1}}, "Value 1 of type number couldn't be used with '$exists' operator."),
        ({"$id": {"$in": []}}, "couldn't be used with '$in' operator."),
        ({"name": {"$contains": 5}}, "Value 5 of type number couldn't be used with '$contains' operator."),
        ({"name": {"$startsWith": True}}, "Value true of type boolean couldn't be used with '$startsWith' operator."),
        ({"name": {"$type": 5}}, "Value 5 of type number couldn't be used with '$type' operator."),
    ],
    ids=str,
)
def test_an_operand_of_the_wrong_kind_is_400(rushdb: Rushdb, filled: str, where: Any, words: str) -> None:
    """No range on strings: no keyset paging on string keys; no empty and no mixed `$in`."""
    assert words in message(rushdb.search(filled, where), 400)


@pytest.mark.parametrize("pattern", ['b"x', "("])
def test_contains_takes_a_raw_regular_expression(rushdb: Rushdb, filled: str, pattern: str) -> None:
    """A quote or a bracket in a search for a text is 500."""
    assert rushdb.search(filled, {"name": {"$contains": pattern}}).status_code == 500


def test_records_are_found_by_id(rushdb: Rushdb, filled: str) -> None:
    """`$id` with a value, `$in` and `$ne`."""
    ids = {record["n"]: record["__id"] for record in rushdb.find(filled)}
    assert numbers(rushdb, filled, {"$id": ids[1]}) == [1]
    assert numbers(rushdb, filled, {"$id": {"$in": [ids[1], ids[9]]}}) == [9, 1]
    assert numbers(rushdb, filled, {"$id": {"$ne": ids[1]}}) == [9, 3, 2, 0]


def test_a_thousand_keys_fit_in_one_question(rushdb: Rushdb, label: str) -> None:
    """How a batch of unknown outcome is looked for."""
    rushdb.create(label, [{"byovKey": str(number)} for number in range(1000)])
    where = {"byovKey": {"$in": [str(number) for number in range(500, 1500)]}}
    assert len(rushdb.find(label, where, limit=1000)) == 500


@pytest.mark.parametrize("name", ["byovKey", "byovBatch", "byovSlice"])
def test_our_own_properties_are_filtered_like_any_other(rushdb: Rushdb, label: str, name: str) -> None:
    """The sandbox looks these up in a table of its own; nobody must be able to tell."""
    rushdb.create(label, [{"n": 1, name: "a"}, {"n": 2, name: "b"}, {"n": 3}, {"n": 4, name: 5}])
    assert numbers(rushdb, label, {name: "a"}) == [1]
    assert numbers(rushdb, label, {name: {"$in": ["a", "b"]}}) == [2, 1]
    assert numbers(rushdb, label, {"$not": {name: "a"}}) == [4, 2]
    assert numbers(rushdb, label, {name: {"$ne": "a"}}) == [4, 2]
    assert numbers(rushdb, label, {"$or": [{name: "a"}, {"n": 2}]}) == [2, 1]
    assert numbers(rushdb, label, {name: {"$exists": False}}) == [3]


def test_newest_records_come_first(rushdb: Rushdb, filled: str) -> None:
    """The default order is the id, descending, and ids rise with time."""
    assert numbers(rushdb, filled) == [9, 3, 2, 1, 0]
    rushdb.create(filled, [{"n": 10}])
    assert numbers(rushdb, filled)[0] == 10


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("asc", [0, 1, 2, 3, 9]),
        ("desc", [9, 3, 2, 1, 0]),
        ({"n": "asc"}, [0, 1, 2, 3, 9]),
        ({"n": "desc"}, [9, 3, 2, 1, 0]),
        ({"__id": "asc"}, [0, 1, 2, 3, 9]),
        ({"name": "asc", "n": "desc"}, [1, 0, 3, 2, 9]),
        ({"name": "desc", "n": "asc"}, [9, 2, 3, 0, 1]),
        ({"mixed": "asc"}, [0, 2, 1, 3, 9]),
    ],
    ids=str,
)
def test_records_come_in_the_order_asked_for(rushdb: Rushdb, filled: str, order: Any, found: list[int]) -> None:
    """Texts before numbers, absent last when rising."""
    assert found == numbers(rushdb, filled, orderBy=order)


def test_pages_are_cut_by_skip_and_limit_and_total_is_exact(rushdb: Rushdb, filled: str) -> None:
    """`total` does not depend on the page."""
    response = rushdb.search(filled, skip=1, limit=2)
    assert ([record["n"] for record in data(response)], response.json()["total"]) == ([3, 2], 5)
    assert numbers(rushdb, filled, skip=5) == []


def test_a_hundred_records_come_without_a_limit(rushdb: Rushdb, label: str) -> None:
    """The default page."""
    rushdb.create(label, [{"n": number} for number in range(101)])
    assert len(rushdb.find(label)) == 100


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"limit": 1001}, '"limit" Number must be less than or equal to 1000'),
        ({"limit": 0}, '"limit" Number must be greater than or equal to 1'),
        ({"limit": "3"}, '"limit" Expected number, received string'),
        ({"skip": -1}, '"skip" Number must be greater than or equal to 0'),
        ({"labels": "Job"}, '"labels" Expected array, received string'),
        ({"orderBy": "up"}, '"orderBy" does not match any of the allowed types'),
    ],
    ids=str,
)
def test_a_page_that_cannot_be_is_400(rushdb: Rushdb, filled: str, query: Any, words: str) -> None:
    """Not clamped: 1,000 is the most a page may hold."""
    assert words in message(rushdb.search(filled, **query), 400)


def test_several_labels_are_searched_at_once(rushdb: Rushdb, filled: str) -> None:
    """Labels are alternatives."""
    other = rushdb.label()
    rushdb.create(other, [{"n": 7}])
    body = {"labels": [filled, other], "where": {"n": {"$gte": 7}}}
    assert [record["n"] for record in data(rushdb.call("POST", "/records/search", body))] == [7, 9]


def test_a_label_in_where_finds_nothing(rushdb: Rushdb, filled: str) -> None:
    """It is a property like any other; labels belong into `labels`."""
    assert rushdb.find(filled, {"__label": filled + "x"}) == []


def test_labels_are_counted(rushdb: Rushdb, filled: str) -> None:
    """`/labels/search` counts the project's records by label."""
    assert len(ROWS) == data(rushdb.call("POST", "/labels/search", {}))[filled]


def test_properties_are_listed_with_their_types(rushdb: Rushdb, filled: str) -> None:
    """A property with two types is listed twice."""
    listed = data(rushdb.call("POST", "/properties/search", {"labels": [filled]}))
    kinds = {(row["name"], row["type"]): row["recordsCount"] for row in listed}
    assert kinds["k", "string"] == 5
    assert (kinds["mixed", "string"], kinds["mixed", "number"]) == (2, 2)
