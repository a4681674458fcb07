"""`/ai/search`: exact with a `where`, approximate and shared without."""

from __future__ import annotations

import random
import secrets
from typing import Any

import pytest

from tests.contract.rushdb_api import Rushdb, data, eventually, message

EAST = [1.0, 0.0, 0.0, 0.0]
ANGLES = {"same": [3.0, 0.0, 0.0, 0.0], "near": [0.8, 0.6, 0.0, 0.0], "half": [0.5, 0.75**0.5, 0.0, 0.0],
          "across": [0.0, 1.0, 0.0, 0.0], "opposite": [-0.01, 0.0, 0.0, 0.0]}  # fmt: skip
SCORES = {"same": 1.0, "near": 0.9, "half": 0.75, "across": 0.5, "opposite": 0.0}


@pytest.fixture
def filled(rushdb: Rushdb, label: str, text: str) -> str:
    """A label with one record for each of ANGLES, `k` its name, and one more without a vector."""
    index = rushdb.index(label, text)
    records = rushdb.create(label, [{"k": name, "n": n, text: ""} for n, name in enumerate([*ANGLES, "none"])])
    rushdb.put_vectors(index, [(record["__id"], ANGLES[record["k"]]) for record in records if record["k"] in ANGLES])
    return label


def test_exact_scores_are_one_plus_cosine_halved(rushdb: Rushdb, filled: str, text: str) -> None:
    """Best first, whatever the vectors' lengths; the tolerance is that of verify's probes."""
    hits = rushdb.exact(filled, text, EAST)
    assert list(SCORES) == [hit["k"] for hit in hits]
    assert list(SCORES.values()) == pytest.approx([hit["__score"] for hit in hits], abs=2e-7)


def test_hits_are_whole_records_in_an_envelope_without_total(rushdb: Rushdb, filled: str, text: str) -> None:
    """Properties come along, so one search proves vectors and properties."""
    response = rushdb.nearest(filled, text, EAST, where={"k": "same"})
    hit = data(response)[0]
    assert {"k": "same", "n": 0, text: ""} == {name: hit[name] for name in ("k", "n", text)}
    assert (filled, "number") == (hit["__label"], hit["__proptypes"]["n"])
    assert "total" not in response.json()


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ({"n": {"$gte": 2}}, ["half", "across", "opposite"]),
        ({"k": {"$in": ["opposite", "near", "none"]}}, ["near", "opposite"]),
        ({"k": {"$contains": "A"}}, ["same", "near", "half", "across"]),
        ({"k": "missing"}, []),
        ({"$not": {"n": 0}}, ["near", "half", "across", "opposite"]),
    ],
    ids=str,
)
def test_a_where_narrows_before_ranking(rushdb: Rushdb, filled: str, text: str, where: Any, found: list[str]) -> None:
    """No hit is lost to the limit of another."""
    assert found == [hit["k"] for hit in rushdb.exact(filled, text, EAST, where=where, limit=len(ANGLES))]


def test_a_where_across_a_link_narrows_too(rushdb: Rushdb, filled: str, text: str) -> None:
    """Search by vector among the postings of one company."""
    company, kind = rushdb.label("Company"), f"T_{secrets.token_hex(4)}"
    rushdb.create(company, [{"n": 1}, {"n": 3}])
    data(rushdb.join(filled, "n", company, "n", kind), 201)
    assert [hit["k"] for hit in rushdb.exact(filled, text, EAST, where={company: {"n": {"$gt": 0}}})] == [
        "near",
        "across",
    ]


def test_a_where_that_cannot_be_is_400(rushdb: Rushdb, filled: str, text: str) -> None:
    """As in a search for records."""
    assert rushdb.nearest(filled, text, EAST, where={"k": {"$gt": "a"}}).status_code == 400


def test_pages_are_cut_by_skip_and_limit(rushdb: Rushdb, filled: str, text: str) -> None:
    """A limit of 0 is an empty page here, not a refusal."""
    assert [hit["k"] for hit in rushdb.exact(filled, text, EAST, skip=1, limit=2)] == ["near", "half"]
    assert rushdb.exact(filled, text, EAST, limit=0) == []


def test_twenty_hits_come_without_a_limit_and_thousands_with_one(rushdb: Rushdb, label: str, text: str) -> None:
    """There is no cap: one search can return a whole slice."""
    index = rushdb.index(label, text, 2)
    for start in (0, 1000):
        records = rushdb.create(label, [{"k": str(start + number), text: ""} for number in range(1000)])
        rushdb.put_vectors(index, [(record["__id"], [1.0, int(record["k"]) / 100]) for record in records])
    assert len(rushdb.exact(label, text, [1.0, 0.0])) == 20
    assert len(rushdb.exact(label, text, [1.0, 0.0], limit=5000)) == 2000


def test_order_and_select_are_ignored(rushdb: Rushdb, filled: str, text: str) -> None:
    """The order is the score's, and whole records come."""
    hits = rushdb.exact(filled, text, EAST, orderBy={"n": "desc"}, select={"x": "$record.k"}, limit=2)
    assert [(hit["k"], hit["n"]) for hit in hits] == [("same", 0), ("near", 1)]


def test_without_where_the_shared_index_finds_the_nearest(rushdb: Rushdb, filled: str, text: str) -> None:
    """Its scores are approximate without a bound (0.5 for 0.0 was seen): good for an order, not for a proof."""

    def found() -> list[Any]:
        return list(data(rushdb.nearest(filled, text, EAST, limit=100)))

    assert eventually(lambda: "same" in {hit["k"] for hit in found()})
    hits = found()
    assert {hit["k"] for hit in hits} <= SCORES.keys()
    assert pytest.approx(next(hit["__score"] for hit in hits if hit["k"] == "same"), abs=0.1) == 1
    assert sorted(hits, key=lambda hit: -hit["__score"]) == hits


def test_an_empty_where_is_no_where(rushdb: Rushdb, filled: str, text: str) -> None:
    """It does not make the search exact."""
    assert eventually(lambda: bool(data(rushdb.nearest(filled, text, EAST, where={}, limit=100))))
    hits = data(rushdb.nearest(filled, text, EAST, where={}, limit=100))
    exact = [hit["__score"] for hit in rushdb.exact(filled, text, EAST)]
    assert [hit["__score"] for hit in hits] != exact


def test_a_small_label_beside_a_large_one_can_come_back_empty(rushdb: Rushdb, label: str, text: str) -> None:
    """The index is one for all labels of a shape, and filtered afterwards; with a `where` all are found."""
    large, dimensions = rushdb.label("Large"), 13
    near = [1.0] + [0.0] * (dimensions - 1)
    far = [-1.0] + [0.0] * (dimensions - 1)
    crowd, few = rushdb.index(large, text, dimensions), rushdb.index(label, text, dimensions)
    scatter = random.Random(5)  # noqa: S311 - no secret
    for start in (0, 1000):
        records = rushdb.create(large, [{"k": str(start + number), text: ""} for number in range(1000)])
        rushdb.put_vectors(
            crowd, [(record["__id"], [1.0, *(scatter.random() / 10 for _ in far[1:])]) for record in records]
        )
    records = rushdb.create(label, [{"k": str(number), text: ""} for number in range(5)])
    rushdb.put_vectors(few, [(record["__id"], far) for record in records])
    assert eventually(lambda: len(data(rushdb.nearest(large, text, near, limit=10))) == 10)
    assert data(rushdb.nearest(label, text, near, limit=10)) == []
    assert len(rushdb.exact(label, text, near, limit=10)) == 5


def test_a_vector_is_seen_by_the_next_search(rushdb: Rushdb, filled: str, text: str) -> None:
    """The self hit that proves an overwritten vector; no waiting on the exact path."""
    index = next(row["id"] for row in data(rushdb.call("GET", "/ai/indexes")) if row["label"] == filled)
    extra = rushdb.create(filled, [{"k": "new", text: ""}])[0]["__id"]
    rushdb.put_vectors(index, [(extra, [0.0, 0.0, 1.0, 0.0])])
    assert rushdb.exact(filled, text, [0.0, 0.0, 1.0, 0.0], limit=1)[0]["k"] == "new"


def test_deleted_records_are_not_found(rushdb: Rushdb, filled: str, text: str) -> None:
    """On either path."""
    rushdb.exact(filled, text, EAST)
    data(rushdb.call("POST", "/records/delete", {"labels": [filled], "where": {"k": "same"}}), 201)
    assert rushdb.exact(filled, text, EAST)[0]["k"] == "near"
    assert "same" not in {hit["k"] for hit in data(rushdb.nearest(filled, text, EAST, limit=100))}


def test_a_hit_with_a_property_named_records_is_empty(rushdb: Rushdb, filled: str, text: str) -> None:
    """Not even its score arrives."""
    rushdb.create(filled, [{"k": "same", "records": 1}], mergeBy=["k"])
    assert rushdb.exact(filled, text, EAST, limit=1) == [[]]


@pytest.mark.parametrize("where", [{}, {"n": 1}], ids=["shared", "exact"])
def test_a_zero_query_vector_is_500(rushdb: Rushdb, filled: str, text: str, where: Any) -> None:
    """It has no direction."""
    assert message(rushdb.nearest(filled, text, [0.0] * 4, where=where), 500) == "Neo4j database error occurred"


def test_a_stored_zero_vector_poisons_every_exact_search_that_meets_it(rushdb: Rushdb, filled: str, text: str) -> None:
    """It is accepted and counted, the shared index leaves it out, and overwriting it heals."""
    index = next(row["id"] for row in data(rushdb.call("GET", "/ai/indexes")) if row["label"] == filled)
    none = rushdb.find(filled, {"k": "none"})[0]["__id"]
    rushdb.put_vectors(index, [(none, [0.0] * 4)])
    assert rushdb.stats(index) == (6, 6)
    assert rushdb.nearest(filled, text, EAST, where={"n": {"$gte": 0}}).status_code == 500
    assert len(rushdb.exact(filled, text, EAST, where={"n": {"$lt": 5}})) == 5
    assert rushdb.nearest(filled, text, EAST).status_code == 200
    rushdb.put_vectors(index, [(none, EAST)])
    assert len(rushdb.exact(filled, text, EAST, where={"n": {"$gte": 0}})) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"sourceType": None},
        {"queryVector": [1.0, 0.0, 0.0]},
        {"similarityFunction": "euclidean"},
        {"propertyName": "another"},
        {"labels": ["NoSuchLabel"]},
        {"queryVector": None, "query": "words"},
    ],
    ids=str,
)
def test_a_search_without_a_matching_index_is_404(rushdb: Rushdb, filled: str, text: str, change: Any) -> None:
    """`sourceType` among them: its default is managed."""
    body = {"labels": [filled], "propertyName": text, "queryVector": EAST, "sourceType": "external"} | change
    response = rushdb.call("POST", "/ai/search", {name: value for name, value in body.items() if value is not None})
    assert message(response, 404).startswith("No embedding index found for label")


def test_words_and_a_vector_together_are_422(rushdb: Rushdb, filled: str, text: str) -> None:
    """Local text never travels in a search by vector."""
    response = rushdb.nearest(filled, text, EAST, query="words")
    assert message(response, 422) == "Provide either query or queryVector, but not both"


def test_a_search_without_labels_is_a_bare_500(rushdb: Rushdb, text: str) -> None:
    """The body is not validated."""
    body = {"propertyName": text, "queryVector": EAST, "sourceType": "external"}
    response = rushdb.call("POST", "/ai/search", body)
    assert (response.status_code, response.json()) == (500, {})


def test_a_read_key_may_search_by_vector(rushdb: Rushdb, filled: str, text: str, read_key: str) -> None:
    """The search developer's key."""
    body = {"labels": [filled], "propertyName": text, "queryVector": EAST, "sourceType": "external", "where": {"n": 0}}
    assert data(rushdb.call("POST", "/ai/search", body, key=read_key))[0]["k"] == "same"


def test_euclidean_scores_are_one_over_one_plus_the_squared_distance(rushdb: Rushdb, label: str, text: str) -> None:
    """Measured, although the migrator refuses that similarity so far."""
    index = rushdb.index(label, text, similarityFunction="euclidean")
    record = rushdb.create(label, [{"k": "a", text: ""}])[0]
    rushdb.put_vectors(index, [(record["__id"], [1.0, 1.0, 0.0, 0.0])])
    hits = rushdb.exact(label, text, [1.0, 0.0, 0.0, 2.0], similarityFunction="euclidean")
    assert pytest.approx(hits[0]["__score"], abs=2e-7) == 1 / 6
