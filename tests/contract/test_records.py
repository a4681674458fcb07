"""Single records: create, read, PUT, PATCH, DELETE."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.rushdb_api import Rushdb, data, message

UNKNOWN = "01a20e4c-37c3-7e40-95fc-996f41d763a3"


def own(record: dict[str, Any]) -> dict[str, Any]:
    """A record without the fields RushDB adds."""
    return {name: value for name, value in record.items() if not name.startswith("__")}


def create_one(rushdb: Rushdb, label: str, **properties: Any) -> dict[str, Any]:
    """A record made by the route for single ones."""
    created: dict[str, Any] = data(rushdb.call("POST", "/records", {"label": label, "data": properties}), 201)
    return created


def test_a_created_record_can_be_read_by_id(rushdb: Rushdb, label: str) -> None:
    """POST keeps types without being asked to, and the reply is the record."""
    created = create_one(rushdb, label, k="a", n=1)
    assert created["__proptypes"] == {"k": "string", "n": "number"}
    assert created == rushdb.record(created["__id"])


def test_a_record_of_nulls_is_404_and_not_stored(rushdb: Rushdb, label: str) -> None:
    """The server's odd word for nothing to store."""
    response = rushdb.call("POST", "/records", {"label": label, "data": {"k": None}})
    assert response.json() == {"message": "Not Found", "statusCode": 404}
    assert rushdb.total(label) == 0


def test_a_single_record_must_be_flat(rushdb: Rushdb, label: str) -> None:
    """Children are for the import route."""
    response = rushdb.call("POST", "/records", {"label": label, "data": {"inner": {"k": "a"}}})
    assert "does not match any of the allowed types" in message(response, 400)


def test_a_single_record_can_be_an_upsert(rushdb: Rushdb, label: str) -> None:
    """`mergeBy` works as on the import route."""
    first = create_one(rushdb, label, k="a", x=1)
    body = {"label": label, "data": {"k": "a", "y": 2}, "options": {"mergeBy": ["k"]}}
    again = data(rushdb.call("POST", "/records", body), 201)
    assert (first["__id"], {"k": "a", "x": 1, "y": 2}) == (again["__id"], own(again))


def test_reserved_names_are_refused(rushdb: Rushdb, label: str) -> None:
    """As on the import route; on A no client may choose an id."""
    response = rushdb.call("POST", "/records", {"label": label, "data": {"__id": UNKNOWN}})
    assert "disallowed keys" in message(response, 400)


def test_a_property_named_data_replaces_the_reply(rushdb: Rushdb, label: str) -> None:
    """The record is stored, its id never arrives."""
    body = {"label": label, "data": {"k": "a", "data": "v"}}
    assert data(rushdb.call("POST", "/records", body), 201) == "v"
    assert rushdb.find(label)[0]["k"] == "a"


def test_a_property_named_total_becomes_the_envelopes(rushdb: Rushdb, label: str) -> None:
    """A client that reads `total` reads the property."""
    response = rushdb.call("POST", "/records", {"label": label, "data": {"total": 7}})
    assert response.json()["total"] == 7


@pytest.mark.parametrize(("name", "reply"), [("records", []), ("data", 5)])
def test_reading_one_record_has_the_same_traps(rushdb: Rushdb, label: str, name: str, reply: object) -> None:
    """`records` empties it, `data` replaces it."""
    marker = create_one(rushdb, label, k="marker")
    data(rushdb.call("PUT", f"/records/{marker['__id']}", {"label": label, "data": {name: 5}}), 201)
    assert reply == rushdb.record(marker["__id"])


@pytest.mark.parametrize("record_id", [UNKNOWN, "nonsense"])
def test_an_unknown_record_is_404(rushdb: Rushdb, record_id: str) -> None:
    """A word that is no id is answered alike."""
    assert message(rushdb.call("GET", f"/records/{record_id}"), 404) == "Not Found"


def test_put_replaces_everything_under_the_same_id(rushdb: Rushdb, label: str) -> None:
    """What is not sent is cleared; the answer is 201."""
    record = create_one(rushdb, label, k="a", x=1)
    changed = data(rushdb.call("PUT", f"/records/{record['__id']}", {"label": label, "data": {"k": "a", "y": 2}}), 201)
    assert (record["__id"], {"k": "a", "y": 2}) == (changed["__id"], own(changed))
    assert changed["__proptypes"] == {"k": "string", "y": "number"}


def test_put_without_a_label_keeps_the_label(rushdb: Rushdb, label: str) -> None:
    """The label is optional."""
    record = create_one(rushdb, label, k="a")
    assert label == data(rushdb.call("PUT", f"/records/{record['__id']}", {"data": {"k": "b"}}), 201)["__label"]


def test_put_clears_with_null(rushdb: Rushdb, label: str) -> None:
    """Null and absent are the same."""
    record = create_one(rushdb, label, k="a", x=1)
    body = {"label": label, "data": {"k": "a", "x": None}}
    assert own(data(rushdb.call("PUT", f"/records/{record['__id']}", body), 201)) == {"k": "a"}


def test_patch_lays_properties_over_the_record_and_null_clears_nothing(rushdb: Rushdb, label: str) -> None:
    """It takes `{label, data}`, not bare properties."""
    record = create_one(rushdb, label, k="a", x=1)
    body = {"label": label, "data": {"x": None, "y": 2}}
    assert own(data(rushdb.call("PATCH", f"/records/{record['__id']}", body), 201)) == {"k": "a", "x": 1, "y": 2}


def test_a_flat_patch_is_500(rushdb: Rushdb, label: str) -> None:
    """The form that the SDK sends."""
    record = create_one(rushdb, label, k="a")
    response = rushdb.call("PATCH", f"/records/{record['__id']}", {"x": 1})
    assert (response.status_code, response.json()) == (500, {})


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_changing_an_unknown_record_is_404(rushdb: Rushdb, label: str, method: str) -> None:
    """Nothing is created in passing."""
    response = rushdb.call(method, f"/records/{UNKNOWN}", {"label": label, "data": {"k": "a"}})
    assert response.status_code == 404
    assert rushdb.total(label) == 0


def test_deleting_twice_succeeds_twice(rushdb: Rushdb, label: str) -> None:
    """A delete may be repeated without looking."""
    record = create_one(rushdb, label, k="a")
    for _ in range(2):
        data(rushdb.call("DELETE", f"/records/{record['__id']}"))
    assert rushdb.total(label) == 0
