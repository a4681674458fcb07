"""External vector indexes and the vectors put into them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import pytest

from tests.contract.rushdb_api import Rushdb, data, message

NORTH, EAST = [0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]
UNKNOWN = "01a20e4c-37c3-7e40-95fc-996f41d763a3"


def fill(rushdb: Rushdb, label: str, text: str, rows: int = 3) -> list[str]:
    """Records with an empty indexed property; their ids in the order of `k`."""
    records = rushdb.create(label, [{"k": str(number), text: ""} for number in range(rows)])
    return [record["__id"] for record in sorted(records, key=lambda record: int(record["k"]))]


def test_a_new_index_awaits_vectors(rushdb: Rushdb, label: str, text: str) -> None:
    """The row names everything a client must compare before adopting an index."""
    row = data(rushdb.create_index(label, text), 201)
    assert (label, text, 4, "cosine") == (
        row["label"],
        row["propertyName"],
        row["dimensions"],
        row["similarityFunction"],
    )
    assert (
        row["sourceType"],
        row["status"],
        row["vectorPropertyName"],
    ) == ("external", "awaiting_vectors", "_emb_external_cosine_4")
    assert row in data(rushdb.call("GET", "/ai/indexes"))


def test_the_rows_project_is_the_same_for_all_keys_of_a_project(rushdb: Rushdb, label: str, text: str) -> None:
    """Identity of the target: two indexes name one project."""
    projects = {data(rushdb.create_index(label, text, dimensions), 201)["projectId"] for dimensions in (4, 5)}
    assert len(projects) == 1


@pytest.mark.parametrize("form", [{}, {"external": True, "sourceType": None}], ids=["same form", "other form"])
def test_the_same_index_again_is_409(rushdb: Rushdb, label: str, text: str, form: dict[str, Any]) -> None:
    """To be adopted, after its shape was compared."""
    rushdb.index(label, text)
    body = {"label": label, "propertyName": text, "dimensions": 4, "sourceType": "external", **form}
    response = rushdb.call("POST", "/ai/indexes", {name: value for name, value in body.items() if value is not None})
    assert (
        f'An embedding index for label "{label}", property "{text}", sourceType "external", '
        'similarityFunction "cosine", and dimensions 4 already exists'
    ) == message(response, 409)


@pytest.mark.parametrize("other", [{"dimensions": 5}, {"similarityFunction": "euclidean"}, {"name": "another"}])
def test_another_shape_or_property_is_another_index(
    rushdb: Rushdb, label: str, text: str, other: dict[str, Any]
) -> None:
    """A new model's index stands beside the live one."""
    rushdb.index(label, text)
    body = {"label": label, "propertyName": other.get("name", text), "dimensions": 4, "sourceType": "external"}
    response = rushdb.call("POST", "/ai/indexes", {**body, **{k: v for k, v in other.items() if k != "name"}})
    rushdb.indexes.append(data(response, 201)["id"])


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"dimensions": 0}, 400, '"dimensions" Number must be greater than or equal to 1'),
        ({"dimensions": 4097}, 400, '"dimensions" Number must be less than or equal to 4096'),
        ({"dimensions": 2.5}, 400, '"dimensions" Expected integer, received float'),
        ({"similarityFunction": "dot"}, 400, "Expected 'cosine' | 'euclidean', received 'dot'"),
        ({"label": ""}, 400, '"label"'),
        ({"dimensions": None}, 422, "dimensions must be an integer between 1 and 4096"),
    ],
    ids=str,
)
def test_a_definition_that_cannot_be_is_refused(
    rushdb: Rushdb, label: str, text: str, change: dict[str, Any], status: int, words: str
) -> None:
    """The largest model fits into 4,096 dimensions; anything else is an error before any row is sent."""
    body = {"label": label, "propertyName": text, "sourceType": "external", "dimensions": 4} | change
    response = rushdb.call("POST", "/ai/indexes", {name: value for name, value in body.items() if value is not None})
    assert words in message(response, status)


def test_a_managed_index_is_not_to_be_had_without_a_model(rushdb: Rushdb, label: str, text: str) -> None:
    """The default source type is managed: `sourceType` must be sent."""
    response = rushdb.call("POST", "/ai/indexes", {"label": label, "propertyName": text})
    assert response.status_code == 422


def test_a_label_that_is_no_identifier_is_500_and_leaves_no_index(rushdb: Rushdb, text: str) -> None:
    """Why labels are checked in the configuration."""
    label = rushdb.label("my label ")
    assert rushdb.create_index(label, text).status_code == 500
    assert label not in {row["label"] for row in data(rushdb.call("GET", "/ai/indexes"))}


def test_a_label_in_unicode_letters_is_fine(rushdb: Rushdb, text: str) -> None:
    """Identifiers are not only ASCII."""
    rushdb.index(rushdb.label("Ярлык"), text)


@pytest.mark.parametrize(
    ("value", "kind"), [(1, "number"), (True, "boolean"), ("2024-01-02", "datetime")], ids=["number", "boolean", "day"]
)
def test_a_property_that_is_no_text_anywhere_cannot_be_indexed(
    rushdb: Rushdb, label: str, text: str, value: Any, kind: str
) -> None:
    """A text that looks like a date is enough: the index is made before the data."""
    rushdb.create(rushdb.label(), [{text: value}])
    assert (
        f'Property "{text}" has type "{kind}" — only string (and List<String>) properties can be indexed'
    ) == message(rushdb.create_index(label, text), 422)


def test_an_index_made_first_takes_vectors_for_any_type(rushdb: Rushdb, label: str, text: str) -> None:
    """Numbers, dates, lists: the property only has to exist."""
    index = rushdb.index(label, text)
    values = ["", " ", "text", "2024-01-02", 1, True, ["a"], []]
    records = rushdb.create(label, [{"k": str(number), text: value} for number, value in enumerate(values)])
    rushdb.put_vectors(index, [(record["__id"], EAST) for record in records])
    assert (len(values), len(values)) == rushdb.stats(index)
    assert len(values) == len(rushdb.exact(label, text, EAST))


def _record_without(rushdb: Rushdb, label: str, text: str, case: str) -> str:
    """The id of a record that cannot take a vector of the index, or of none."""
    if case == "unknown":
        return UNKNOWN
    if case == "other label":
        return fill(rushdb, rushdb.label(), text, 1)[0]
    row = {"k": "x"} if case == "no property" else {"k": "x", text: None}
    return str(rushdb.create(label, [row])[0]["__id"])


class TestStatistics:
    """`/stats`, and the status that must not be trusted."""

    def test_it_counts_records_with_the_property_and_those_with_a_vector(
        self, rushdb: Rushdb, label: str, text: str
    ) -> None:
        """A record without the property is in neither number."""
        index = rushdb.index(label, text)
        ids = fill(rushdb, label, text)
        rushdb.create(label, [{"k": "without"}])
        rushdb.put_vectors(index, [(ids[0], EAST)])
        assert rushdb.stats(index) == (3, 1)

    @pytest.mark.parametrize("index", [UNKNOWN, "nonsense"])
    def test_an_unknown_index_has_zeros(self, rushdb: Rushdb, index: str) -> None:
        """Never 404: a wrong id looks like an empty index."""
        assert rushdb.stats(index) == (0, 0)

    def test_it_follows_deletes(self, rushdb: Rushdb, label: str, text: str) -> None:
        """Vectors go with their records."""
        index = rushdb.index(label, text)
        ids = fill(rushdb, label, text)
        rushdb.put_vectors(index, [(record_id, EAST) for record_id in ids])
        data(rushdb.call("DELETE", f"/records/{ids[0]}"))
        assert rushdb.stats(index) == (2, 2)

    def test_an_overwritten_vector_is_not_counted_twice(self, rushdb: Rushdb, label: str, text: str) -> None:
        """Which is why a lost overwrite cannot be seen here."""
        index = rushdb.index(label, text)
        ids = fill(rushdb, label, text)
        for vector in (EAST, NORTH):
            rushdb.put_vectors(index, [(record_id, vector) for record_id in ids])
        assert rushdb.stats(index) == (3, 3)

    def test_ready_means_all_had_a_vector_at_the_last_vector_write(self, rushdb: Rushdb, label: str, text: str) -> None:
        """One record without keeps it waiting; nothing but a vector write changes it afterwards."""
        index = rushdb.index(label, text)
        ids = fill(rushdb, label, text)
        rushdb.put_vectors(index, [(ids[0], EAST), (ids[1], EAST)])
        assert rushdb.status(index) == "awaiting_vectors"
        rushdb.put_vectors(index, [(ids[2], EAST)])
        assert rushdb.status(index) == "ready"
        fill(rushdb, label, text, 1)
        assert (rushdb.status(index), rushdb.stats(index)) == ("ready", (4, 3))


class TestUpsert:
    """`/ai/indexes/:id/vectors/upsert`: all or none, and it refuses unknown ids."""

    def test_it_answers_with_the_numbers_written_and_sent(self, rushdb: Rushdb, label: str, text: str) -> None:
        """An id that comes twice counts twice; the last vector wins."""
        index = rushdb.index(label, text)
        ids = fill(rushdb, label, text, 1)
        assert data(rushdb.upsert(index, [(ids[0], EAST), (ids[0], NORTH)])) == {"updated": 2, "requested": 2}
        assert pytest.approx(rushdb.exact(label, text, NORTH)[0]["__score"], abs=1e-6) == 1

    def test_a_repeat_overwrites(self, rushdb: Rushdb, label: str, text: str) -> None:
        """The next search sees the new vector alone."""
        index = rushdb.index(label, text)
        ids = fill(rushdb, label, text, 1)
        rushdb.put_vectors(index, [(ids[0], EAST)])
        assert len(rushdb.exact(label, text, EAST)) == 1  # loads what the sandbox keeps in memory
        rushdb.put_vectors(index, [(ids[0], [-1.0, 0.0, 0.0, 0.0])])
        assert pytest.approx(rushdb.exact(label, text, EAST)[0]["__score"], abs=1e-6) == 0

    def test_nothing_to_write_is_a_success(self, rushdb: Rushdb, label: str, text: str) -> None:
        """An empty list is answered with zeros."""
        assert data(rushdb.upsert(rushdb.index(label, text), [])) == {"updated": 0, "requested": 0}

    def test_a_body_without_items_is_a_bare_500(self, rushdb: Rushdb, label: str, text: str) -> None:
        """An unvalidated body, as seen by a client with a bug."""
        response = rushdb.call("POST", f"/ai/indexes/{rushdb.index(label, text)}/vectors/upsert", {})
        assert (response.status_code, response.json()) == (500, {})

    @pytest.mark.parametrize("vector", [[1, 0, 0], [1, 0, 0, 0, 0], [], [1, 0, 0, "1"], [1, 0, 0, None], None])
    def test_a_vector_of_another_length_or_kind_refuses_the_batch(
        self, rushdb: Rushdb, label: str, text: str, vector: Sequence[Any]
    ) -> None:
        """None of the batch is written."""
        index = rushdb.index(label, text)
        ids = fill(rushdb, label, text)
        response = rushdb.upsert(index, [(ids[0], EAST), (ids[1], vector)])
        assert message(response, 422) == "Every vector must contain exactly 4 finite numeric values"
        assert rushdb.stats(index) == (3, 0)

    def test_infinity_is_refused(self, rushdb: Rushdb, label: str, text: str) -> None:
        """JSON can spell it as a number too large for a double."""
        index = rushdb.index(label, text)
        ids = fill(rushdb, label, text, 1)
        body = f'{{"items":[{{"recordId":"{ids[0]}","vector":[1e400,0,0,0]}}]}}'.encode()
        response = rushdb.send("POST", f"/ai/indexes/{index}/vectors/upsert", body)
        assert "finite" in message(response, 422)

    @pytest.mark.parametrize("case", ["unknown", "other label", "no property", "null property"])
    def test_a_record_that_cannot_take_it_refuses_the_batch(
        self, rushdb: Rushdb, label: str, text: str, case: str
    ) -> None:
        """Which makes an accepted call the proof that every record of it was stored."""
        index = rushdb.index(label, text)
        ids = fill(rushdb, label, text)
        bad = _record_without(rushdb, label, text, case)
        response = rushdb.upsert(index, [(ids[0], EAST), (bad, EAST)])
        assert f'Some record ids were not found for label "{label}" and property "{text}"' == message(response, 422)
        assert rushdb.stats(index)[1] == 0

    def test_an_unknown_index_is_404(self, rushdb: Rushdb) -> None:
        """The message names the id."""
        assert f'Embedding index "{UNKNOWN}" not found' == message(rushdb.upsert(UNKNOWN, []), 404)

    def test_another_projects_index_is_404(self, rushdb: Rushdb, label: str, text: str, other_key: str) -> None:
        """Projects cannot write into each other's indexes."""
        index = rushdb.index(label, text)
        response = rushdb.call("POST", f"/ai/indexes/{index}/vectors/upsert", {"items": []}, key=other_key)
        assert response.status_code == 404

    def test_two_properties_keep_their_vectors_apart(self, rushdb: Rushdb, label: str, text: str) -> None:
        """A spare property added by `append` takes a new model's vectors beside the live ones."""
        spare = text + "Alt"
        live, new = rushdb.index(label, text), rushdb.index(label, spare)
        ids = fill(rushdb, label, text, 1)
        rushdb.put_vectors(live, [(ids[0], EAST)])
        rushdb.create(label, [{"k": "0", spare: ""}], mergeBy=["k"])
        rushdb.put_vectors(new, [(ids[0], NORTH)])
        assert (rushdb.stats(live), rushdb.stats(new)) == ((1, 1), (1, 1))
        assert pytest.approx(rushdb.exact(label, text, EAST)[0]["__score"], abs=1e-6) == 1
        assert pytest.approx(rushdb.exact(label, spare, EAST)[0]["__score"], abs=1e-6) == 0.5


class TestInline:
    """`$vectors` in the rows of an import, `vectors` beside a single record."""

    def test_rows_bring_their_vectors(self, rushdb: Rushdb, label: str, text: str) -> None:
        """One call for records and vectors."""
        index = rushdb.index(label, text)
        rushdb.create(label, [{"k": "a", text: "", "$vectors": [{"propertyName": text, "vector": EAST}]}])
        assert rushdb.stats(index) == (1, 1)
        assert rushdb.status(index) == "ready"
        assert "$vectors" not in rushdb.find(label)[0]

    def test_a_row_without_the_property_loses_its_vector_silently(self, rushdb: Rushdb, label: str, text: str) -> None:
        """201, and no vector."""
        index = rushdb.index(label, text)
        for row in ({"k": "a"}, {"k": "b", text: None}):
            rushdb.create(label, [{**row, "$vectors": [{"propertyName": text, "vector": EAST}]}])
        assert rushdb.stats(index) == (0, 0)
        assert rushdb.total(label) == 2

    @pytest.mark.parametrize(("dimensions", "known"), [(3, True), (4, False)], ids=["wrong length", "no index"])
    def test_a_vector_without_an_index_refuses_the_import(
        self,
        rushdb: Rushdb,
        label: str,
        text: str,
        dimensions: int,
        known: bool,  # noqa: FBT001
    ) -> None:
        """404 for the whole import; nothing is stored."""
        if known:
            rushdb.index(label, text)
        vector = [1.0] * dimensions
        rows = [{"k": "good"}, {"k": "bad", text: "", "$vectors": [{"propertyName": text, "vector": vector}]}]
        assert (
            f'No external embedding index found for label "{label}", property "{text}", dimensions {dimensions}'
        ) == message(rushdb.import_rows(label, rows), 404)
        assert rushdb.total(label) == 0

    def test_a_vector_that_is_no_numbers_refuses_the_import(self, rushdb: Rushdb, label: str, text: str) -> None:
        """422, and nothing is stored."""
        rushdb.index(label, text)
        rows = [{"k": "a", text: "", "$vectors": [{"propertyName": text, "vector": [1, 0, 0, "x"]}]}]
        assert f'Vector for property "{text}" contains non-finite values' == message(
            rushdb.import_rows(label, rows), 422
        )
        assert rushdb.total(label) == 0

    def test_two_similarities_must_be_told_apart(self, rushdb: Rushdb, label: str, text: str) -> None:
        """422 until the entry names one."""
        cosine, euclidean = rushdb.index(label, text), rushdb.index(label, text, similarityFunction="euclidean")
        entry = {"propertyName": text, "vector": EAST}
        response = rushdb.import_rows(label, [{"k": "a", text: "", "$vectors": [entry]}])
        assert 'Specify "similarityFunction" in the vector entry' in message(response, 422)
        rushdb.create(label, [{"k": "a", text: "", "$vectors": [{**entry, "similarityFunction": "euclidean"}]}])
        assert (rushdb.stats(cosine)[1], rushdb.stats(euclidean)[1]) == (0, 1)

    def test_dunder_vectors_are_an_ordinary_property(self, rushdb: Rushdb, label: str, text: str) -> None:
        """As one tutorial spells it: no vector arrives."""
        index = rushdb.index(label, text)
        rushdb.create(label, [{"k": "a", text: "", "__vectors": 1}])
        assert rushdb.stats(index) == (1, 0)

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
    def test_a_single_record_brings_its_vectors_too(self, rushdb: Rushdb, label: str, text: str, method: str) -> None:
        """The field is `vectors` here."""
        index = rushdb.index(label, text)
        path = "/records" if method == "POST" else f"/records/{fill(rushdb, label, text, 1)[0]}"
        body = {"label": label, "data": {"k": "a", text: ""}, "vectors": [{"propertyName": text, "vector": EAST}]}
        data(rushdb.call(method, path, body), 201)
        assert rushdb.stats(index) == (1, 1)


class TestWhatErasesVectors:
    """Updates of a record that has a vector."""

    @pytest.fixture
    def index(self, rushdb: Rushdb, label: str, text: str) -> str:
        """An index with one record, `k` = 0, that has a vector; it is ready."""
        index = rushdb.index(label, text)
        rushdb.put_vectors(index, [(fill(rushdb, label, text, 1)[0], EAST)])
        assert (rushdb.status(index), rushdb.stats(index)) == ("ready", (1, 1))
        return index

    def test_append_keeps_it_even_with_another_text(self, rushdb: Rushdb, label: str, text: str, index: str) -> None:
        """The stale vector answers with the old score."""
        rushdb.create(label, [{"k": "0", text: "other"}], mergeBy=["k"])
        assert rushdb.stats(index) == (1, 1)
        assert pytest.approx(rushdb.exact(label, text, EAST)[0]["__score"], abs=1e-6) == 1

    def test_rewrite_erases_it(self, rushdb: Rushdb, label: str, text: str, index: str) -> None:
        """Countable in the statistics, while the status stays."""
        rushdb.create(label, [{"k": "0", text: ""}], mergeBy=["k"], mergeStrategy="rewrite")
        assert (rushdb.status(index), rushdb.stats(index)) == ("ready", (1, 0))
        assert rushdb.exact(label, text, EAST) == []

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_put_and_patch_erase_it(self, rushdb: Rushdb, label: str, text: str, index: str, method: str) -> None:
        """Even when nothing changed."""
        record_id = rushdb.find(label)[0]["__id"]
        assert len(rushdb.exact(label, text, EAST)) == 1
        data(rushdb.call(method, f"/records/{record_id}", {"label": label, "data": {"k": "0", text: ""}}), 201)
        assert (rushdb.status(index), rushdb.stats(index)) == ("ready", (1, 0))
        assert rushdb.exact(label, text, EAST) == []

    @pytest.mark.parametrize("strategy", ["append", "rewrite"])
    def test_an_inline_vector_replaces_it(
        self, rushdb: Rushdb, label: str, text: str, index: str, strategy: str
    ) -> None:
        """Under both strategies."""
        row = {"k": "0", text: "", "$vectors": [{"propertyName": text, "vector": NORTH}]}
        rushdb.create(label, [row], mergeBy=["k"], mergeStrategy=strategy)
        assert rushdb.stats(index) == (1, 1)
        assert pytest.approx(rushdb.exact(label, text, NORTH)[0]["__score"], abs=1e-6) == 1

    def test_put_keeps_links(self, rushdb: Rushdb, label: str, text: str, index: str) -> None:
        """Only the vector is lost with a PUT."""
        other, kind = rushdb.label(), f"T_{secrets.token_hex(4)}"
        rushdb.create(other, [{"k": "0"}])
        data(rushdb.join(label, "k", other, "k", kind), 201)
        record_id = rushdb.find(label)[0]["__id"]
        data(rushdb.call("PUT", f"/records/{record_id}", {"label": label, "data": {"k": "0", text: ""}}), 201)
        assert (rushdb.linked(label, other, kind), rushdb.stats(index)[1]) == (1, 0)


def test_a_deleted_index_is_gone_at_once(rushdb: Rushdb, label: str, text: str) -> None:
    """Its statistics are zeros, its vectors route is 404."""
    index = rushdb.index(label, text)
    ids = fill(rushdb, label, text, 1)
    rushdb.put_vectors(index, [(ids[0], EAST)])
    assert data(rushdb.call("DELETE", f"/ai/indexes/{index}"), 202) == {"deleted": True, "queued": True}
    assert rushdb.stats(index) == (0, 0)
    assert rushdb.upsert(index, [(ids[0], EAST)]).status_code == 404


def test_deleting_an_unknown_index_is_404(rushdb: Rushdb) -> None:
    """As for another project's."""
    assert f'Embedding index "{UNKNOWN}" not found' == message(rushdb.call("DELETE", f"/ai/indexes/{UNKNOWN}"), 404)


def test_a_deleted_index_is_listed_no_more_and_the_others_are(rushdb: Rushdb, label: str, text: str) -> None:
    """Whoever lost the answer to the delete can look."""
    gone, kept = rushdb.index(label, text), rushdb.index(label, text, 5)
    data(rushdb.call("DELETE", f"/ai/indexes/{gone}"), 202)
    listed = {row["id"] for row in data(rushdb.call("GET", "/ai/indexes"))}
    assert (gone in listed, kept in listed) == (False, True)


def test_counts_of_vectors_follow_a_delete_of_their_records_at_once(rushdb: Rushdb, label: str, text: str) -> None:
    """Whether an index still holds vectors of somebody else can be asked right after a delete."""
    index = rushdb.index(label, text)
    ids = fill(rushdb, label, text, 3)
    rushdb.put_vectors(index, [(record_id, EAST) for record_id in ids])
    body = {"labels": [label], "where": {"$id": {"$in": ids[:2]}}}
    data(rushdb.call("POST", "/records/delete", body), 201)
    assert rushdb.stats(index) == (1, 1)
