"""`/records/delete`. The form that empties a project is tried on the sandbox alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from byov_migrate.sandbox import running
from tests.contract.rushdb_api import Rushdb, data, message


def delete(rushdb: Rushdb, label: str, where: Any, **more: Any) -> httpx.Response:
    """A delete bounded by a label and a `where`."""
    return rushdb.call("POST", "/records/delete", {"labels": [label], "where": where, **more})


def test_exactly_the_named_ids_go(rushdb: Rushdb, label: str) -> None:
    """How single records are removed in bulk; labels may be left out."""
    records = rushdb.create(label, [{"n": number} for number in range(5)])
    ids = [record["__id"] for record in records if record["n"] < 2]
    data(rushdb.call("POST", "/records/delete", {"where": {"$id": {"$in": ids}}}), 201)
    assert [record["n"] for record in rushdb.find(label)] == [4, 3, 2]


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ({"n": {"$gte": 2}}, [1, 0]),
        ({"k": "k1"}, [4, 3, 2, 0]),
        ({"k": {"$in": ["k1", "k2"]}}, [4, 3, 0]),
        ({"k": "none"}, [4, 3, 2, 1, 0]),
    ],
    ids=["range", "equal", "in", "no match"],
)
def test_a_label_and_a_where_bound_the_delete(rushdb: Rushdb, label: str, where: Any, left: list[int]) -> None:
    """The rest of the label stays."""
    rushdb.create(label, [{"n": number, "k": f"k{number}"} for number in range(5)])
    data(delete(rushdb, label, where), 201)
    assert left == [record["n"] for record in rushdb.find(label)]


def test_a_limit_is_ignored(rushdb: Rushdb, label: str) -> None:
    """It is no safety net."""
    rushdb.create(label, [{"n": number} for number in range(5)])
    data(delete(rushdb, label, {"n": {"$gte": 0}}, limit=1), 201)
    assert rushdb.total(label) == 0


def test_an_empty_list_of_ids_is_refused(rushdb: Rushdb, label: str) -> None:
    """An empty batch does not become the whole project."""
    rushdb.create(label, [{"n": 1}])
    assert "$in" in message(rushdb.call("POST", "/records/delete", {"where": {"$id": {"$in": []}}}), 400)
    assert rushdb.total(label) == 1


def test_an_apostrophe_in_a_value_is_500_and_deletes_nothing(rushdb: Rushdb, label: str) -> None:
    """Why rows are deleted by id and not by their keys."""
    rushdb.create(label, [{"k": "it's"}])
    assert delete(rushdb, label, {"k": "it's"}).status_code == 500
    assert rushdb.total(label) == 1


def test_links_go_with_their_records(rushdb: Rushdb, label: str) -> None:
    """No half of a link stays behind."""
    other, kind = rushdb.label(), f"T_{label}"
    rushdb.create(label, [{"c": 1}])
    rushdb.create(other, [{"c": 1}])
    data(rushdb.join(label, "c", other, "c", kind), 201)
    assert rushdb.linked(label, other, kind) == 1
    data(delete(rushdb, other, {"c": 1}), 201)
    assert rushdb.linked(label, other, kind) == 0


@pytest.mark.parametrize("body", [{}, {"labels": []}, {"where": {}}])
def test_no_label_and_no_where_empty_the_project(tmp_path: Path, body: dict[str, Any]) -> None:
    """What a client must never send: on a sandbox of its own, since it is what it says."""
    with running(tmp_path, "key") as sandbox, httpx.Client(base_url=sandbox.url) as http:
        rushdb = Rushdb(http, sandbox.url, "key", is_sandbox=True)
        rushdb.create("First", [{"k": "a"}])
        rushdb.create("Second", [{"k": "a"}])
        data(rushdb.call("POST", "/records/delete", body), 201)
        assert (rushdb.total("First"), rushdb.total("Second")) == (0, 0)
