"""Grouped counts and sums: how whole batches are proved in one request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.rushdb_api import Rushdb, data, message

COUNT = {"rows": {"$count": "*"}}
MOST_FIRST = {"rows": "desc"}


@pytest.fixture
def filled(rushdb: Rushdb, label: str) -> str:
    """Four records of batch a, two of b, one of none; `n` from 0 to 6."""
    batches = ["a", "a", "a", "a", "b", "b", None]
    rushdb.create(label, [{"n": n, "byovBatch": batch, "even": n % 2 == 0} for n, batch in enumerate(batches)])
    return label


def groups(rushdb: Rushdb, label: str, **query: Any) -> list[Any]:
    """Groups of all records of a label."""
    return rushdb.find(label, **query)


def test_ordered_by_an_aggregate_groups_cover_the_whole_label(rushdb: Rushdb, filled: str) -> None:
    """Skip and limit are then about groups; records without the property are a group without it."""
    query = {"groupBy": ["$record.byovBatch"], "select": COUNT, "orderBy": MOST_FIRST}
    whole = [{"byovBatch": "a", "rows": 4}, {"byovBatch": "b", "rows": 2}, {"rows": 1}]
    assert whole == groups(rushdb, filled, **query)
    assert whole[:1] == groups(rushdb, filled, **query, limit=1)
    assert whole[1:] == groups(rushdb, filled, **query, skip=1)


def test_without_that_order_groups_cover_one_page_of_records(rushdb: Rushdb, filled: str) -> None:
    """The trap: a limit of 3 counts three records."""
    found = groups(rushdb, filled, groupBy=["$record.byovBatch"], select=COUNT, limit=3)
    assert {group.get("byovBatch"): group["rows"] for group in found} == {None: 1, "b": 2}


def test_batches_asked_for_by_name_are_counted_and_lost_ones_have_no_group(rushdb: Rushdb, filled: str) -> None:
    """Why the expected batches are listed by the client."""
    query = {"groupBy": ["$record.byovBatch"], "select": COUNT, "orderBy": MOST_FIRST}
    where = {"byovBatch": {"$in": ["a", "b", "lost"]}}
    found = rushdb.find(filled, where, **query, limit=1000)
    assert {group["byovBatch"]: group["rows"] for group in found} == {"a": 4, "b": 2}


def test_total_counts_records_not_groups(rushdb: Rushdb, filled: str) -> None:
    """It says nothing about the number of groups."""
    response = rushdb.search(filled, groupBy=["$record.byovBatch"], select=COUNT, orderBy=MOST_FIRST, limit=1)
    assert response.json()["total"] == 7


def test_count_sum_least_and_greatest_come_in_one_row(rushdb: Rushdb, filled: str) -> None:
    """A checksum of a label in one request."""
    select = {
        "rows": {"$count": "*"},
        "sum": {"$sum": "$record.n"},
        "least": {"$min": "$record.n"},
        "most": {"$max": "$record.n"},
        "mean": {"$avg": "$record.n"},
    }
    found = groups(rushdb, filled, groupBy=list(select), select=select, orderBy=MOST_FIRST, limit=1)
    assert found == [{"rows": 7, "sum": 21, "least": 0, "most": 6, "mean": 3}]


def test_no_record_is_counted_as_zero_in_a_row_without_keys(rushdb: Rushdb, filled: str) -> None:
    """A total over nothing is a row, not an empty list."""
    query = {"groupBy": ["rows"], "select": COUNT, "orderBy": MOST_FIRST}
    assert rushdb.find(filled, {"n": 77}, **query) == [{"rows": 0}]


def test_no_record_makes_no_group_by_a_property(rushdb: Rushdb, filled: str) -> None:
    """A batch that is wholly lost is an empty answer."""
    query = {"groupBy": ["$record.byovBatch"], "select": COUNT, "orderBy": MOST_FIRST}
    assert rushdb.find(filled, {"n": 77}, **query) == []


def test_groups_may_have_several_properties_of_any_type(rushdb: Rushdb, filled: str) -> None:
    """Values keep their types in the reply."""
    query = {"groupBy": ["$record.byovBatch", "$record.even"], "select": COUNT, "orderBy": MOST_FIRST}
    found = {(group.get("byovBatch"), group["even"]): group["rows"] for group in groups(rushdb, filled, **query)}
    assert found == {("a", True): 2, ("a", False): 2, ("b", True): 1, ("b", False): 1, (None, True): 1}


def test_counting_a_property_counts_its_different_values(rushdb: Rushdb, filled: str) -> None:
    """Only `*` counts records."""
    select = {"values": {"$count": "$record.even"}}
    query = {"groupBy": ["$record.byovBatch"], "select": select, "orderBy": {"values": "desc"}}
    assert {group.get("byovBatch"): group["values"] for group in groups(rushdb, filled, **query)} == {
        "a": 2,
        "b": 2,
        None: 1,
    }


def test_doubled_keys_come_first(rushdb: Rushdb, label: str) -> None:
    """One request finds a duplicate in a whole label."""
    rushdb.create(label, [{"k": key} for key in ("a", "b", "c", "b")])
    query = {"groupBy": ["$record.k"], "select": COUNT, "orderBy": MOST_FIRST, "limit": 1}
    assert groups(rushdb, label, **query) == [{"k": "b", "rows": 2}]


def test_grouping_cuts_the_reply_to_the_named_properties(rushdb: Rushdb, filled: str) -> None:
    """`select` alone does not: whole records come, with the selected names beside."""
    cut = groups(rushdb, filled, groupBy=["$record.n"], select=COUNT, limit=1)
    assert cut == [{"n": 6, "rows": 1}]
    whole = groups(rushdb, filled, select={"number": "$record.n"}, limit=1)[0]
    assert (whole["n"], whole["even"], whole["number"]) == (6, True, 6)


def test_a_group_by_neither_property_nor_select_key_is_400(rushdb: Rushdb, filled: str) -> None:
    """A property needs `$record.` in front."""
    response = rushdb.search(filled, groupBy=["byovBatch"], select=COUNT, orderBy=MOST_FIRST)
    assert "must include a property name or reference a select key" in message(response, 400)


def test_a_property_in_select_is_left_out_of_groups(rushdb: Rushdb, filled: str) -> None:
    """Only `groupBy` names the properties of a group."""
    select = {"batch": "$record.byovBatch", **COUNT}
    query = {"groupBy": ["$record.byovBatch"], "select": select, "orderBy": MOST_FIRST, "limit": 1}
    assert groups(rushdb, filled, **query) == [{"byovBatch": "a", "rows": 4}]


def test_grouping_by_a_renamed_property_is_500(rushdb: Rushdb, filled: str) -> None:
    """Only an aggregate may be named by its select key."""
    select = {"batch": "$record.byovBatch", **COUNT}
    response = rushdb.search(filled, groupBy=["batch"], select=select, orderBy=MOST_FIRST)
    assert message(response, 500) == "Neo4j database error occurred"


def test_an_unknown_aggregate_is_400(rushdb: Rushdb, filled: str) -> None:
    """There is no checksum and no hash among them."""
    response = rushdb.search(filled, groupBy=["sum"], select={"sum": {"$hash": "*"}})
    assert '"select.sum" does not match any of the allowed types' in message(response, 400)


def test_a_count_holds_after_records_went_and_came(rushdb: Rushdb, filled: str) -> None:
    """Grouped counts see deletes and creates at once."""
    query = {"groupBy": ["$record.byovBatch"], "select": COUNT, "orderBy": MOST_FIRST}
    where = {"byovBatch": {"$in": ["a"]}}
    data(rushdb.call("POST", "/records/delete", {"labels": [filled], "where": {"n": {"$lt": 2}}}), 201)
    assert rushdb.find(filled, where, **query) == [{"byovBatch": "a", "rows": 2}]
    rushdb.create(filled, [{"n": 8, "byovBatch": "a"}])
    assert rushdb.find(filled, where, **query) == [{"byovBatch": "a", "rows": 3}]
