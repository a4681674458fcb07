"""The official Python SDK as an independent reader of what was written over plain HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from rushdb import RushDB  # type: ignore[import-untyped]  # the SDK carries no types
from rushdb.common import RushDBError  # type: ignore[import-untyped]

from tests.contract.rushdb_api import Rushdb


@pytest.fixture
def sdk(rushdb: Rushdb) -> RushDB:
    """The SDK in REST mode, pointed at the server under test."""
    return RushDB(rushdb.api_key, url=rushdb.url)


@pytest.fixture
def filled(rushdb: Rushdb, label: str) -> str:
    """A label with two records."""
    rushdb.create(label, [{"k": "a", "n": 1, "tags": ["x"]}, {"k": "b", "n": 2}])
    return label


def test_it_reaches_the_server(sdk: RushDB) -> None:
    """Ping asks a route that anybody may call."""
    assert sdk.ping()


def test_it_finds_records_and_their_total(sdk: RushDB, filled: str) -> None:
    """Properties, label, id and types as written."""
    found = sdk.records.find({"labels": [filled], "where": {"n": {"$gte": 1}}, "limit": 1})
    assert (len(found), found.total, found.has_more) == (1, 2, True)
    record = found.data[0]
    assert (filled, "b", 2) == (record.label, record["k"], record["n"])
    assert record.get_data() == {"k": "b", "n": 2}


def test_it_finds_records_by_id(sdk: RushDB, rushdb: Rushdb, filled: str) -> None:
    """One id, and a list of them."""
    ids = [record["__id"] for record in rushdb.find(filled)]
    assert sdk.records.find_by_id(ids[0])["k"] == "b"
    assert {"a", "b"} == {record["k"] for record in sdk.records.find_by_id(ids)}


def test_ids_hold_the_time_of_creation(sdk: RushDB, rushdb: Rushdb, filled: str) -> None:
    """The SDK reads a record's date from its id."""
    newest, oldest = (record["__id"] for record in rushdb.find(filled))
    assert sdk.records.find_by_id(newest).date >= sdk.records.find_by_id(oldest).date


def test_it_counts_labels(sdk: RushDB, filled: str) -> None:
    """Among whatever else is in the project."""
    assert data_of(sdk.labels.find())[filled] == 2


def test_it_lists_properties(sdk: RushDB, filled: str) -> None:
    """Names and types."""
    listed = data_of(sdk.properties.find({"labels": [filled]}))
    assert {("k", "string"), ("n", "number"), ("tags", "string")} <= {(row["name"], row["type"]) for row in listed}


def test_it_reads_indexes_and_their_statistics(sdk: RushDB, rushdb: Rushdb, label: str, text: str) -> None:
    """What a person would look at first."""
    index = rushdb.index(label, text)
    record = rushdb.create(label, [{"k": "a", text: ""}])[0]
    rushdb.put_vectors(index, [(record["__id"], [1.0, 0.0, 0.0, 0.0])])
    assert index in {row["id"] for row in sdk.ai.indexes.find().data}
    assert dict(sdk.ai.indexes.stats(index).data) == {"totalRecords": 1, "indexedRecords": 1}


def test_it_searches_by_vector_when_told_the_source_type(sdk: RushDB, rushdb: Rushdb, label: str, text: str) -> None:
    """Without `sourceType` the same call is 404 on this server."""
    index = rushdb.index(label, text)
    record = rushdb.create(label, [{"k": "a", text: ""}])[0]
    rushdb.put_vectors(index, [(record["__id"], [1.0, 0.0, 0.0, 0.0])])
    query = {"labels": [label], "propertyName": text, "queryVector": [1.0, 0.0, 0.0, 0.0], "where": {"k": "a"}}
    hits = sdk.records.vector_search({**query, "sourceType": "external"})
    assert [(hit["k"], hit.score) for hit in hits] == [("a", 1)]
    with pytest.raises(RushDBError):
        sdk.records.vector_search(query)


def test_its_own_writes_are_read_back_over_http(sdk: RushDB, rushdb: Rushdb, label: str, text: str) -> None:
    """Create, upsert and import as the SDK spells them."""
    index = rushdb.index(label, text)
    vector = [{"propertyName": text, "vector": [1.0, 0.0, 0.0, 0.0]}]
    sdk.records.create(label, {"k": "a", text: ""}, vectors=vector)
    sdk.records.upsert({"k": "a", "n": 1}, label=label, options={"mergeBy": ["k"]})
    sdk.records.create_many(label, [{"k": "b", text: ""}])
    assert {("a", 1), ("b", None)} == {(record["k"], record.get("n")) for record in rushdb.find(label)}
    assert rushdb.stats(index) == (2, 1)


def test_it_deletes_by_id(sdk: RushDB, rushdb: Rushdb, filled: str) -> None:
    """Alone and in bulk."""
    ids = [record["__id"] for record in rushdb.find(filled)]
    sdk.records.delete_by_id(ids[0])
    sdk.records.delete_by_id(ids[1:])
    assert rushdb.total(filled) == 0


def test_it_links_and_counts_links(sdk: RushDB, rushdb: Rushdb, filled: str) -> None:
    """Attach by id, join by value, search by type."""
    other, kind = rushdb.label(), f"T_{filled}"
    target = rushdb.create(other, [{"m": 2}])[0]["__id"]
    source = rushdb.find(filled, {"n": 1})[0]["__id"]
    sdk.records.attach(source, target, {"type": kind, "direction": "out"})
    sdk.relationships.create_many(source={"label": filled, "key": "n"}, target={"label": other, "key": "m"}, type=kind)
    assert sdk.relationships.find({"where": {"type": kind}}).total == 2
    assert rushdb.linked(filled, other, kind) == 2


def data_of(answer: Any) -> Any:
    """The SDK hands some envelopes through and unwraps others."""
    return answer["data"] if isinstance(answer, dict) and "data" in answer else getattr(answer, "data", answer)
