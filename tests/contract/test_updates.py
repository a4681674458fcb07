"""Records written over: what stays, what goes, and what the counts say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.contract.rushdb_api import Rushdb, data, eventually, message

UNKNOWN = "01a20e4c-37c3-7e40-95fc-996f41d763a3"
VECTOR = [1.0, 0.0, 0.0, 0.0]
OTHER = [0.0, 1.0, 0.0, 0.0]


@dataclass
class Scene:
    """Two records of batch `first`, each with a vector and a link, and what is asked of them."""

    rushdb: Rushdb
    label: str
    other: str
    text: str
    index: str
    ids: dict[str, str]

    def row(self, key: str, **properties: Any) -> dict[str, Any]:
        """A body of batch `second`."""
        return {"k": key, self.text: "", "byovBatch": "second", **properties}

    def append(self, key: str, **properties: Any) -> str:
        """Lay properties over a record by its key."""
        return str(self.rushdb.create(self.label, [self.row(key, **properties)], mergeBy=["k"])[0]["__id"])

    def rewrite(self, key: str, **properties: Any) -> str:
        """Put properties in place of all that a record held, by its key."""
        rows = [self.row(key, **properties)]
        made = self.rushdb.create(self.label, rows, mergeBy=["k"], mergeStrategy="rewrite")
        return str(made[0]["__id"])

    def put(self, key: str, **properties: Any) -> str:
        """The same by record id."""
        body = {"label": self.label, "data": self.row(key, **properties), "options": {"suggestTypes": True}}
        return str(data(self.rushdb.call("PUT", f"/records/{self.ids[key]}", body), 201)["__id"])

    def batches(self) -> dict[str, int]:
        """Rows of each batch, as deliveries are proved."""
        query = {"groupBy": ["$record.byovBatch"], "select": {"n": {"$count": "*"}}, "orderBy": {"n": "desc"}}
        where = {"byovBatch": {"$in": ["first", "second"]}}
        return {row["byovBatch"]: row["n"] for row in self.rushdb.find(self.label, where, **query, limit=1000)}

    def vectors(self) -> int:
        """Vectors that the index counts."""
        return self.rushdb.stats(self.index)[1]

    def score(self, key: str, vector: list[float]) -> float | None:
        """An exact search's score of one record; None when it has no vector."""
        found = self.rushdb.exact(self.label, self.text, vector, where={"k": key}, limit=10)
        return found[0]["__score"] if found else None

    def linked(self) -> int:
        """Records that still have their link."""
        return self.rushdb.linked(self.label, self.other, "AT")


@pytest.fixture
def scene(rushdb: Rushdb, label: str, text: str) -> Scene:
    """Records `a` and `b`, each with a vector, a link and a property `old`."""
    other = rushdb.label("ContractPlace")
    index = rushdb.index(label, text)
    rows = [{"k": key, text: "", "byovBatch": "first", "old": 1, "place": "p"} for key in ("a", "b")]
    ids = {record["k"]: record["__id"] for record in rushdb.create(label, rows)}
    rushdb.create(other, [{"place": "p"}])
    rushdb.put_vectors(index, [(record_id, VECTOR) for record_id in ids.values()])
    data(rushdb.join(label, "place", other, "place", "AT"), 201)
    made = Scene(rushdb, label, other, text, index, ids)
    assert eventually(lambda: made.linked() == 2)
    return made


def test_append_by_key_keeps_id_vectors_links_and_what_is_not_sent(scene: Scene) -> None:
    """The cheap update: nothing is sent or embedded again."""
    assert scene.append("a", new=2) == scene.ids["a"]
    record = scene.rushdb.record(scene.ids["a"])
    assert (record["old"], record["new"]) == (1, 2)
    assert scene.score("a", VECTOR) == pytest.approx(1.0)
    assert (scene.vectors(), scene.linked()) == (2, 2)


@pytest.mark.parametrize("way", ["rewrite", "put"])
def test_rewriting_keeps_id_and_links_drops_what_is_not_sent_and_erases_the_vector(scene: Scene, way: str) -> None:
    """Two ways with one meaning; the other record is left alone."""
    assert getattr(scene, way)("a", new=2) == scene.ids["a"]
    record = scene.rushdb.record(scene.ids["a"])
    assert {name for name in record if not name.startswith("__")} == {"k", scene.text, "byovBatch", "new"}
    assert (scene.score("a", VECTOR), scene.vectors()) == (None, 1)
    assert scene.score("b", VECTOR) == pytest.approx(1.0)
    assert scene.linked() == 2


@pytest.mark.parametrize("way", ["rewrite", "put"])
def test_a_rewritten_record_takes_a_new_vector(scene: Scene, way: str) -> None:
    """The count is back where it was, and a search finds the new vector alone."""
    record_id = getattr(scene, way)("a")
    scene.rushdb.put_vectors(scene.index, [(record_id, OTHER)])
    assert scene.vectors() == 2
    assert scene.score("a", OTHER) == pytest.approx(1.0)
    assert scene.score("a", VECTOR) == pytest.approx(0.5)


@pytest.mark.parametrize("way", ["rewrite", "put"])
def test_a_record_rewritten_without_the_indexed_property_takes_no_vector(scene: Scene, way: str) -> None:
    """Null is absent: the vectors call refuses, and what was there before is erased."""
    record_id = getattr(scene, way)("a", **{scene.text: None})
    assert scene.rushdb.upsert(scene.index, [(record_id, OTHER)]).status_code == 422
    assert scene.vectors() == 1


@pytest.mark.parametrize("way", ["append", "rewrite", "put"])
def test_the_grouped_count_moves_from_the_old_batch_to_the_new(scene: Scene, way: str) -> None:
    """A batch's name is in a record only when the write that carried it was committed: this proves an update."""
    getattr(scene, way)("a")
    assert scene.batches() == {"first": 1, "second": 1}
    getattr(scene, way)("b")
    assert scene.batches() == {"second": 2}


def test_put_to_an_unknown_id_is_404_in_the_servers_words_and_makes_nothing(rushdb: Rushdb, label: str) -> None:
    """Whoever updates has to create it; an unknown route uses other words."""
    response = rushdb.call("PUT", f"/records/{UNKNOWN}", {"label": label, "data": {"k": "a"}})
    assert (response.status_code, response.json()) == (404, {"message": "Not Found", "statusCode": 404})
    assert message(rushdb.call("PUT", "/no-such-route", {}), 404) == "Cannot PUT /api/v1/no-such-route"
    assert rushdb.total(label) == 0


def test_a_rewrite_of_a_record_that_is_gone_makes_it_anew(scene: Scene) -> None:
    """Under another id, so its links are gone: whoever deleted it wanted that."""
    data(scene.rushdb.call("DELETE", f"/records/{scene.ids['a']}"))
    assert scene.rewrite("a") != scene.ids["a"]
    assert (scene.rushdb.total(scene.label), scene.linked()) == (2, 1)


def test_two_equal_keys_in_one_create_are_400_with_the_constraint_and_nothing_is_stored(
    rushdb: Rushdb, label: str, make_unique: Callable[[str, str], None]
) -> None:
    """How it is found out, without a look into the database, whether the operator made the constraint."""
    assert len(rushdb.create(label, [{"k": "pair"}, {"k": "pair"}])) == 2
    other = rushdb.label()
    make_unique(other, "k")
    assert message(rushdb.import_rows(other, [{"k": "pair"}, {"k": "pair"}]), 400).startswith("Import failed: ")
    assert rushdb.total(other) == 0


@pytest.mark.parametrize("strategy", ["append", "rewrite"])
def test_many_rows_by_key_are_all_answered_with_their_ids(
    rushdb: Rushdb, label: str, make_unique: Callable[[str, str], None], strategy: str
) -> None:
    """1,000 rows, known and new, in one request, each under the id it had."""
    make_unique(label, "k")
    known = {row["k"]: row["__id"] for row in rushdb.create(label, [{"k": f"k{n}", "x": n} for n in range(900)])}
    rows = [{"k": f"k{n}", "y": n} for n in range(1000)]
    written = {row["k"]: row["__id"] for row in rushdb.create(label, rows, mergeBy=["k"], mergeStrategy=strategy)}
    assert {key: written[key] for key in known} == known
    assert len(set(written.values())) == rushdb.total(label) == 1000
    assert rushdb.total(label, {"x": {"$gte": 0}}) == (900 if strategy == "append" else 0)


@pytest.mark.parametrize("way", ["append", "rewrite", "put"])
def test_every_kind_of_value_survives_every_way_of_writing_over(scene: Scene, way: str) -> None:
    """A type that changed on the way of an update alone would be a difference that no backfill shows."""
    values = {
        "s": "Grüße",
        "empty": "",
        "digits": "007",
        "moment": "2026-01-31T10:00:00.123456+00:00",
        "whole": 9007199254740991,
        "half": 0.5,
        "yes": True,
        "texts": ["a", ""],
        "numbers": [1.5, -2],
        "none": [],
    }
    record = scene.rushdb.record(getattr(scene, way)("a", **values))
    assert {name: record[name] for name in values} == values
    created = scene.rushdb.create(scene.label, [{"k": "c", **values}])[0]
    assert {name: record["__proptypes"][name] for name in values} == {
        name: created["__proptypes"][name] for name in values
    }


def test_deleting_by_many_ids_takes_those_that_are_there(scene: Scene) -> None:
    """Half of a delete may have been done: the same ids again are no error, and counts follow."""
    for _ in range(2):
        body = {"labels": [scene.label], "where": {"$id": {"$in": [scene.ids["a"], UNKNOWN]}}}
        data(scene.rushdb.call("POST", "/records/delete", body), 201)
    assert (scene.rushdb.total(scene.label), scene.vectors()) == (1, 1)
