"""`/records/import/json` as a plain create."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.contract.rushdb_api import RETURNED, Rushdb, data, message


def test_returned_rows_carry_label_id_and_types(rushdb: Rushdb, label: str) -> None:
    """Ids come back with the row's own key beside them, which is how they are matched."""
    records = rushdb.create(label, [{"k": "a", "n": 1}, {"k": "b", "n": 2}])
    assert {record["k"]: record["n"] for record in records} == {"a": 1, "b": 2}
    assert {label} == {record["__label"] for record in records}
    assert records[0]["__proptypes"] == {"k": "string", "n": "number"}
    assert [uuid.UUID(record["__id"]).version for record in records] == [7, 7]


def test_without_return_result_the_answer_is_true(rushdb: Rushdb, label: str) -> None:
    """No ids: they have to be searched for."""
    body = {"label": label, "data": [{"k": "a"}], "options": {"suggestTypes": True}}
    assert data(rushdb.call("POST", "/records/import/json", body), 201) is True


def test_an_empty_list_is_a_success(rushdb: Rushdb, label: str) -> None:
    """Empty when a result was asked for, else true."""
    assert data(rushdb.import_rows(label, []), 201) == []
    assert data(rushdb.call("POST", "/records/import/json", {"label": label, "data": []}), 201) is True


def test_above_a_thousand_records_no_rows_come_back(rushdb: Rushdb, label: str) -> None:
    """1,000 are returned, 1,001 are counted; all are stored."""
    assert len(rushdb.create(label, [{"n": number} for number in range(1000)])) == 1000
    result = data(rushdb.import_rows(label, [{"n": number} for number in range(1001)]), 201)
    assert result["count"] == 1001
    assert result["message"].startswith("Import complete. 1001 records processed.")
    assert rushdb.total(label) == 2001


def test_children_count_towards_the_thousand(rushdb: Rushdb, label: str) -> None:
    """999 rows and one with a child and a grandchild are 1,002 records."""
    child, grandchild = rushdb.label("Child"), rushdb.label("Grandchild")
    rows: list[Any] = [{"n": number} for number in range(999)] + [{"n": 0, child: {"m": 1, grandchild: {"m": 2}}}]
    assert data(rushdb.import_rows(label, rows), 201)["count"] == 1002


def test_a_row_without_properties_is_stored_but_not_returned(rushdb: Rushdb, label: str) -> None:
    """Counting the reply against the request would be wrong by one."""
    assert len(rushdb.create(label, [{"k": "a"}, {}])) == 1
    assert rushdb.total(label) == 2


def test_a_repeated_create_doubles(rushdb: Rushdb, label: str) -> None:
    """Plain create is not idempotent: look before sending again."""
    for _ in range(2):
        rushdb.create(label, [{"k": "a"}])
    assert rushdb.total(label, {"k": "a"}) == 2


def test_one_bad_row_stores_none(rushdb: Rushdb, label: str) -> None:
    """A request is one transaction."""
    rows: list[Any] = [{"k": str(number)} for number in range(20)]
    assert rushdb.import_rows(label, [*rows, {"": 1}]).status_code == 400
    assert rushdb.total(label) == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"data": [{"k": "a"}]}, "`label` is required"),
        ({"label": "", "data": [{"k": "a"}]}, '"label" String must contain at least 1 character(s)'),
        ({"label": "Contract", "data": [None]}, '"data" does not match any of the allowed types'),
        ({"Contract": [{"k": "a"}]}, "`data` must be a JSON object, array, or JSON text"),
        ({"label": "Contract", "data": [{"": 1}]}, "Token names cannot be empty"),
    ],
    ids=["no label", "empty label", "null row", "no data", "empty name"],
)
def test_a_body_that_is_no_import_is_400(rushdb: Rushdb, body: Any, words: str) -> None:
    """The server's reason is in the message."""
    assert words in message(rushdb.call("POST", "/records/import/json", body), 400)


@pytest.mark.parametrize("name", ["__id", "__label", "__proptypes", "__projectId", "__score", "$id", "$eq"])
@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_reserved_names_are_refused_at_any_depth(rushdb: Rushdb, label: str, name: str, nested: bool) -> None:  # noqa: FBT001
    """A reserved name kills the whole request."""
    row = {name: "x"}
    response = rushdb.import_rows(label, [{"k": "a"}, {"inner": row} if nested else row])
    assert message(response, 400).startswith("Request body contains disallowed keys: [")
    assert rushdb.total(label) == 0


@pytest.mark.parametrize("name", ["$foo", "_id", "id", "label", "type", "vectors", "a.b", "a b", "a`b", "имя"])
def test_other_names_are_taken_as_they_are(rushdb: Rushdb, label: str, name: str) -> None:
    """A column's name needs no escaping on its way in."""
    assert rushdb.create(label, [{name: "x"}])[0][name] == "x"


@pytest.mark.parametrize("stem", ["Ярлык", "a b", "my-label"])
def test_any_text_is_a_label_for_records(rushdb: Rushdb, stem: str) -> None:
    """Records take labels that vector indexes and links do not."""
    label = rushdb.label(stem)
    rushdb.create(label, [{"k": "a"}])
    assert rushdb.total(label) == 1


def test_objects_become_linked_child_records(rushdb: Rushdb, label: str) -> None:
    """The child's label is the property's name; the link leads from parent to child."""
    child = rushdb.label("Child")
    records = rushdb.create(label, [{"k": "a", child: [{"m": 1}, {"m": 2}]}], relationshipType="HAS_CHILD")
    assert [label, child, child] == [record["__label"] for record in records]
    assert rushdb.total(child, {label: {"$relation": {"type": "HAS_CHILD", "direction": "in"}}}) == 2


def test_nested_lists_become_child_records(rushdb: Rushdb, label: str) -> None:
    """Why a two-dimensional array has to be sent as text."""
    child = rushdb.label("Child")
    rushdb.create(label, [{"k": "a", child: [[1, 2], [3]]}])
    assert [
        {name: value for name, value in record.items() if not name.startswith("__")} for record in rushdb.find(child)
    ] == [{"0": 3}, {"0": 1, "1": 2}]


def test_rows_may_stand_under_their_label(rushdb: Rushdb, label: str) -> None:
    """The unlabelled form, still below `data`."""
    body = {"data": {label: [{"k": "a"}, {"k": "b"}]}, "options": dict(RETURNED)}
    assert len(data(rushdb.call("POST", "/records/import/json", body), 201)) == 2


def test_vectors_at_the_top_of_the_body_are_ignored(rushdb: Rushdb, label: str, text: str) -> None:
    """As documentation shows it, and the vectors are silently lost."""
    index = rushdb.index(label, text)
    body = {"label": label, "data": [{text: ""}], "vectors": [[{"propertyName": text, "vector": [1, 0, 0, 0]}]]}
    data(rushdb.call("POST", "/records/import/json", body), 201)
    assert rushdb.stats(index) == (1, 0)


def test_a_property_named_records_empties_the_record_in_every_reply(rushdb: Rushdb, label: str) -> None:
    """Why that name is reserved: the record is stored and never seen again."""
    assert rushdb.create(label, [{"k": "a", "records": 5}]) == [[]]
    assert rushdb.find(label) == [[]]


def test_a_falsy_property_named_records_does_no_harm(rushdb: Rushdb, label: str) -> None:
    """Which is why the trap is easily missed in a trial."""
    assert rushdb.create(label, [{"k": "a", "records": 0}])[0]["k"] == "a"


@pytest.mark.parametrize("name", ["data", "total"])
def test_properties_named_like_the_envelope_are_safe_in_lists(rushdb: Rushdb, label: str, name: str) -> None:
    """Only a single record's reply is spoilt by them."""
    assert rushdb.create(label, [{name: "x"}])[0][name] == "x"
    assert rushdb.find(label)[0][name] == "x"
