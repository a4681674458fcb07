"""What leaves: the list that people are shown, and the bodies that are built. They must be one and the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byov_migrate.config import EmbeddingConfig, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.jobs.documents import Composer, leaving, staying
from byov_migrate.records import Content, Document, Embedded, Outgoing, Position, Refs, Row, Vector
from tests.unit.link_shapes import carried, two_labels

DIGESTS = Digests(b"k" * 32)
CANARY = "canary-5f0c"
NAMES = st.lists(st.sampled_from(["id", "title", "place", "pay", "tags"]), min_size=1, max_size=5, unique=True)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.text(max_size=5), st.booleans(), st.integers(-5, 5), st.lists(st.text(max_size=3), max_size=2)
)


@st.composite
def embeddings(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """An embedding of text, sent or not, or of ready vectors."""
    spare = {"property": name, "spare": draw(st.booleans())}
    if draw(st.booleans()):
        return {**spare, "vector": f"vector_{name}"}
    return {**spare, "text": "{body} {" + name + "_extra}", "model": "m", "send_text": draw(st.booleans())}


@st.composite
def tables(draw: st.DrawFn) -> TableConfig:
    """Any table: columns, some of them renamed, up to three embeddings."""
    columns = draw(NAMES)
    rename = {column: f"{column}Renamed" for column in draw(st.lists(st.sampled_from(columns), unique=True))}
    chosen = draw(st.lists(st.sampled_from(["p", "q", "r"]), max_size=3, unique=True))
    content = {"columns": columns, "rename": rename, "embeddings": [draw(embeddings(name)) for name in chosen]}
    return TableConfig.model_validate(
        {"name": "public.job", "label": "Job", "hash_key_values": draw(st.booleans()), **content}
    )


def content_of(embedding: EmbeddingConfig, *, present: bool) -> Content:
    """What stands in the row for one embedding."""
    if not present:
        return None
    return np.ones(4, dtype=np.float32) if embedding.vector else f"{CANARY} {embedding.property_name}"


def composed(table: TableConfig, properties: dict[str, Outgoing], contents: tuple[Content, ...]) -> Document:
    """The document of one row, its batch named."""
    composer = Composer(table, DIGESTS, "state", tuple(None if item.vector else "f" * 64 for item in table.embeddings))
    document = composer.document(Row("7", ("7",), properties, contents))
    batch = composer.batch([Embedded(document, (), ())], [])
    return batch.rows[0].document


@given(tables(), st.data())
def test_a_body_holds_exactly_what_the_list_says(table: TableConfig, data: st.DataObject) -> None:
    """The list is what a compliance officer signs; one name more is a leak, one less is a lie."""
    properties: dict[str, Outgoing] = {table.outgoing_name(column): data.draw(VALUES) for column in table.columns}
    contents = tuple(content_of(item, present=True) for item in table.embeddings)
    document = composed(table, properties, contents)
    assert set(document.properties) == {item.property_name for item in leaving(table)}
    assert len(leaving(table)) == len(document.properties)


@given(tables(), st.data())
def test_a_row_without_text_lacks_what_would_carry_the_vector(table: TableConfig, data: st.DataObject) -> None:
    """Never a name that is not on the list; a value that is NULL is left out."""
    present = [data.draw(st.booleans()) for _ in table.embeddings]
    contents = tuple(content_of(item, present=there) for item, there in zip(table.embeddings, present, strict=True))
    document = composed(table, {}, contents)
    assert set(document.properties) <= {item.property_name for item in leaving(table)}
    for item, there in zip(table.embeddings, present, strict=True):
        carriers = {item.property_name, f"byovText_{item.property_name}", item.spare_property}
        assert bool(carriers & set(document.properties)) is there
        assert (item.property_name in document.properties) is there


@given(tables())
def test_text_is_in_a_body_only_where_send_text_says_so(table: TableConfig) -> None:
    """In no other property, and in no hash."""
    contents = tuple(content_of(item, present=True) for item in table.embeddings)
    document = composed(table, {}, contents)
    sent = {item.property_name for item in table.embeddings if item.send_text}
    assert {name for name, value in document.properties.items() if CANARY in str(value)} == sent
    for item in table.embeddings:
        if not item.send_text:
            assert document.properties[item.property_name] == ""
        assert document.properties.get(item.spare_property, "") == ""


@given(tables())
def test_a_column_leaves_or_stays(table: TableConfig) -> None:
    """Every column that is read is in one of the two lists, and in no more than one."""
    read = {column for item in table.embeddings if item.text for column in item.text.columns}
    read |= {item.vector for item in table.embeddings if item.vector}
    texts_sent = {column for item in table.embeddings if item.text and item.send_text for column in item.text.columns}
    kept = staying(table)
    assert len(kept) == len(set(kept))
    assert set(kept) == read - set(table.columns) - texts_sent


def table_of(**embedding: Any) -> TableConfig:
    """A table with one embedding of text."""
    plain = {"property": "p", "text": "{body}", "model": "m", **embedding}
    return TableConfig.model_validate({"name": "t", "label": "Job", "columns": ["id"], "embeddings": [plain]})


def test_the_parts_of_a_body() -> None:
    """Each as the formats say."""
    document = composed(table_of(), {"id": 7}, ("the text",))
    text_hash = DIGESTS.text_hash("the text", "f" * 64)
    assert document.text_hashes == (text_hash,)
    assert document.hash == DIGESTS.record_hash({"id": 7})
    assert document.properties == {
        "id": 7,
        "p": "",
        "pAlt": "",
        "byovText_p": text_hash,
        "byovKey": "7",
        "byovHash": document.hash,
        "byovSlice": DIGESTS.slice_of("7"),
        "byovBatch": DIGESTS.batch_id("state", [("7", document.hash, (text_hash,), {})]),
    }


def test_the_record_hash_is_of_the_columns_alone() -> None:
    """A new model changes the text hash and not this one: else every record would have to be written again."""
    one = composed(table_of(), {"id": 7}, ("the text",))
    other = composed(table_of(send_text=True, spare=False), {"id": 7}, ("another text",))
    assert one.hash == other.hash
    assert one.text_hashes != other.text_hashes


def test_a_sent_text_is_the_rendered_one() -> None:
    """What the vector stands for."""
    assert composed(table_of(send_text=True), {}, ("the text",)).properties["p"] == "the text"


def test_a_batch_names_itself_in_every_row_and_keeps_order_and_vectors() -> None:
    """It is looked for by that name."""
    table = table_of()
    composer = Composer(table, DIGESTS, "state", ("f" * 64,))
    vectors: list[Vector] = [np.full(4, number, dtype=np.float32) for number in (1, 2)]
    rows = [
        Embedded(composer.document(Row(key, (key,), {}, (key,))), (vector,), ((0.1, 0.2, 0.3),))
        for key, vector in zip("ab", vectors, strict=True)
    ]
    covers = [Position(1, ("b",), done=True)]
    batch = composer.batch(rows, covers)
    assert [item.document.properties["byovBatch"] for item in batch.rows] == [batch.id] * 2
    assert [item.document.key for item in batch.rows] == ["a", "b"]
    assert [item.vectors[0] is vector for item, vector in zip(batch.rows, vectors, strict=True)] == [True, True]
    assert batch.covers == tuple(covers)
    assert "byovBatch" not in rows[0].document.properties


@pytest.mark.parametrize(("hashed", "origin"), [(False, "the key"), (True, "HMAC of the key")])
def test_the_list_says_what_becomes_of_the_key(*, hashed: bool, origin: str) -> None:
    """Keys can be customer numbers."""
    table = table_of().model_copy(update={"hash_key_values": hashed})
    assert {item.property_name: item.origin for item in leaving(table)}["byovKey"] == origin


LINKS = (carried("AT"), carried("WANTS", is_list=True))


def linked(refs: Refs) -> Document:
    """The document of a job that leads somewhere, its batch named."""
    composer = Composer(two_labels().entries[0], DIGESTS, "state", (), LINKS)
    document = composer.document(Row("7", ("7",), {"id": "7"}, (), refs=refs))
    return composer.batch([Embedded(document, (), ())], []).rows[0].document


@pytest.mark.parametrize(
    ("refs", "sent"),
    [
        ({"AT": ("1",), "WANTS": ("1", "~2")}, {"byovRef_AT": "1", "byovRef_WANTS": ["1", "~2"]}),
        ({"WANTS": ("1",)}, {"byovRef_WANTS": ["1"]}),
        ({}, {}),
    ],
    ids=["both", "a list of one", "none"],
)
def test_a_body_holds_the_keys_that_a_row_leads_to(refs: Refs, sent: dict[str, Outgoing]) -> None:
    """A list stays one, however short; NULL leads nowhere and is no property. None of it is in the record's hash."""
    document = linked(refs)
    assert {name: value for name, value in document.properties.items() if name.startswith("byovRef")} == sent
    assert (document.refs, document.hash) == (refs, DIGESTS.record_hash({"id": "7"}))
    assert document.properties["byovBatch"] == DIGESTS.batch_id("state", [("7", document.hash, (), refs)])


def test_the_list_of_what_leaves_names_what_links_send() -> None:
    """With all of them set, body and list are one."""
    table = two_labels().entries[0]
    listed = {item.property_name: item.origin for item in leaving(table, LINKS)}
    assert set(listed) == set(linked({"AT": ("1",), "WANTS": ("1",)}).properties)
    assert listed["byovRef_AT"] == "the key of the Company it leads to"
    assert not any(name.startswith("byovRef") for name in (item.property_name for item in leaving(table)))


def test_the_list_says_where_a_nodes_property_comes_from() -> None:
    """A record for each value is not a row."""
    entry = two_labels(nodes=[{"label": "City", "table": "public.job", "column": "city", "property": "title"}]).entries[
        2
    ]
    assert {item.property_name: item.origin for item in leaving(entry)} == {
        "title": "each value of column city of public.job",
        "byovKey": "the key",
        "byovHash": "keyed hash of the columns above",
        "byovBatch": "name of the batch",
        "byovSlice": "keyed hash of the key",
    }
