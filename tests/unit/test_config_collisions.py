"""What is wrong between two keys, told with both of their paths."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.config_files import changed, given, mistakes, one_mistake, parse, with_embedding


def collision(content: dict[str, Any], *parts: str) -> None:
    """One refusal that holds all of these."""
    line = one_mistake(content)
    assert all(part in line for part in parts), line


def test_two_columns_with_one_outgoing_name() -> None:
    """One would overwrite the other in every record."""
    content = changed("tables.0.rename", {"title": "id"})
    collision(content, "tables[0].columns[0]", "tables[0].columns[1]", "property id")


def test_one_column_twice() -> None:
    """The same collision without a rename."""
    collision(changed("tables.0.columns", ["id", "id"]), "tables[0].columns[0]", "tables[0].columns[1]")


@pytest.mark.parametrize("name", ["byovKey", "byovAnything", "__id", "$eq", "records", "data", "total", ""])
def test_a_reserved_outgoing_name(name: str) -> None:
    """RushDB refuses some, loses others, and `byov` is ours."""
    collision(changed("tables.0.rename", {"title": name}), "tables[0].columns[1]", "reserved", "rename")


@pytest.mark.parametrize("name", ["byovVector", "__x", "$x", "data", ""])
def test_a_reserved_embedding_property(name: str) -> None:
    """The same for what carries the vector."""
    assert any("reserved" in line for line in mistakes(with_embedding(property=name)))


@pytest.mark.parametrize("property_name", ["title", "id"])
def test_an_embedding_property_that_is_also_sent(property_name: str) -> None:
    """The column's text would stand where nothing but a vector was promised."""
    collision(with_embedding(property=property_name), "tables[0].embeddings[0].property", "tables[0].columns[")


def test_a_spare_property_that_is_also_sent() -> None:
    """`PAlt` is an outgoing name too, unless there is none."""
    content = changed("tables.0.columns", ["id", "descriptionAlt"], with_embedding())
    collision(content, "descriptionAlt", "tables[0].columns[1]")
    assert parse(changed("tables.0.embeddings.0.spare", False, content))


def test_two_embeddings_of_one_property() -> None:
    """Two vector spaces in one index."""
    content = with_embedding()
    content["tables"][0]["embeddings"] *= 2
    assert "tables[0].embeddings[1].property" in " ".join(mistakes(content))


def test_one_label_in_two_entries() -> None:
    """Tables and nodes share the labels."""
    content = given()
    content["tables"].append({"name": "public.other", "label": "Job", "columns": ["id"]})
    content["nodes"] = [{"label": "Job", "table": "public.job", "column": "title"}]
    first, second = mistakes(content)
    assert first.startswith("tables[1].label: ")
    assert second.startswith("nodes[0].label: ")
    assert "tables[0].label" in first
    assert "tables[0].label" in second


def test_the_label_of_our_markers() -> None:
    """A table of that label would be counted as markers."""
    collision(changed("tables.0.label", "ByovMigration"), "tables[0].label")


def with_links(*links: dict[str, Any]) -> dict[str, Any]:
    """Jobs, companies and cities, so linked."""
    content = with_embedding()
    content["tables"].append({"name": "public.company", "label": "Company", "columns": ["id"]})
    content["nodes"] = [{"label": "City", "table": "public.job", "column": "city"}]
    content["links"] = list(links)
    return content


BY_VALUE = {"type": "AT", "source": "Job.company_id", "target": "Company.id"}
THROUGH = {"type": "KNOWS", "source": "Job", "target": "Company", "through": "public.knows"}
BY_KEY = {"type": "OF", "foreign_key": "public.job.job_company"}


def test_links_of_every_way_are_taken() -> None:
    """One type may lead from two labels."""
    back = {"type": "AT", "source": "Company.city", "target": "City.name"}
    assert len(parse(with_links(BY_VALUE, THROUGH, BY_KEY, back)).links) == 4


@pytest.mark.parametrize(("side", "text"), [("source", "Jobb.company_id"), ("target", "Compani.id")])
def test_a_link_to_a_label_that_is_not_there(side: str, text: str) -> None:
    """With the nearest that is."""
    nearest = {"source": "Job", "target": "Company"}[side]
    collision(with_links({**BY_VALUE, side: text}), f"links[0].{side}", f'did you mean "{nearest}"?')


def test_a_join_table_between_labels_that_are_not_there() -> None:
    """The label stands alone there."""
    assert [line.partition(":")[0] for line in mistakes(with_links({**THROUGH, "source": "A", "target": "B"}))] == [
        "links[0].source",
        "links[0].target",
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (BY_VALUE, {"type": "AT", "source": "Job.city", "target": "City.name"}),
        (THROUGH, {**THROUGH, "target": "City"}),
        (BY_KEY, {**BY_KEY, "foreign_key": "public.job.job_other"}),
    ],
    ids=["by value", "through", "by key"],
)
def test_two_links_of_one_type_from_one_label(first: dict[str, Any], second: dict[str, Any]) -> None:
    """A record has one property for a type, and what is removed is told by type and label."""
    collision(with_links(first, second), "links[1].type", "links[0]", "another type")


def test_a_withheld_column_that_a_link_would_send() -> None:
    """Rows carry what they are joined by."""
    content = with_links({"type": "SAYS", "source": "Job.body", "target": "City.name"})
    collision(content, "links[0].source", "tables[0].embeddings[0].text", "body")


def test_a_withheld_column_that_a_link_would_have_as_a_property() -> None:
    """A join table may be migrated too, and keep a text at home."""
    content = with_links({**THROUGH, "properties": ["note"]})
    note = {"property": "vec", "text": "{note}", "model": "jobs"}
    content["tables"].append({"name": "public.knows", "label": "Knows", "columns": ["id"], "embeddings": [note]})
    collision(content, "links[0].properties", "tables[2].embeddings[0].text", "note")


@pytest.mark.parametrize("name", ["byovKey", "__id", "$x", "data", ""])
def test_a_reserved_property_of_a_link_or_a_node(name: str) -> None:
    """As of a record."""
    collision(with_links({**THROUGH, "properties": ["since", name]}), "links[0].properties", "reserved")
    content = with_links()
    content["nodes"][0]["property"] = name
    collision(content, "nodes[0].property", "reserved")


@pytest.mark.parametrize(
    ("link", "word"),
    [
        ({"type": "X"}, "needs foreign_key"),
        ({"type": "X", "source": "Job.a"}, "needs foreign_key"),
        ({"type": "X", "through": "t"}, "needs foreign_key"),
        ({**BY_KEY, "source": "Job.a"}, "take the other keys out"),
        ({**BY_KEY, "through": "t"}, "take the other keys out"),
        ({**BY_KEY, "properties": ["since"]}, "take the other keys out"),
        ({**THROUGH, "source": "Job.id"}, "labels without a column"),
        ({**BY_VALUE, "properties": ["since"]}, "add through"),
        ({**BY_VALUE, "source_columns": ["a"]}, "add through"),
        ({**BY_VALUE, "target_columns": ["a"]}, "add through"),
        ({**BY_VALUE, "source": "Job"}, "Label.column"),
        ({**BY_VALUE, "target": "Company."}, "Label.column"),
    ],
    ids=str,
)
def test_a_link_is_said_in_one_way(link: dict[str, Any], word: str) -> None:
    """Keys of two ways leave open which one is meant."""
    collision(with_links(link), "links[0]", word)


def test_a_withheld_column_that_a_node_would_send() -> None:
    """A node holds the value itself."""
    content = with_embedding()
    content["nodes"] = [{"label": "Body", "table": "public.job", "column": "body"}]
    collision(content, "nodes[0].column", "tables[0].embeddings[0].text", "body")


@pytest.mark.parametrize("name", ["public.job", "job"])
def test_a_withheld_column_that_another_entry_would_send(name: str) -> None:
    """Two labels from one table, however it is named, and the text leaves through the second."""
    content = with_embedding()
    content["tables"].append({"name": name, "label": "Copy", "columns": ["id", "body"]})
    collision(content, "tables[1].columns[1]", "tables[0].embeddings[0].text", "body")


def test_a_withheld_column_that_another_embedding_would_send() -> None:
    """`send_text` of one embedding sends what another one of the same table promises to keep."""
    content = with_embedding()
    second = {"property": "summary", "text": "{title} {body}", "model": "jobs", "send_text": True}
    content["tables"][0]["embeddings"].append(second)
    collision(content, "tables[0].embeddings[1].text", "tables[0].embeddings[0].text", "body")


def test_a_column_that_is_embedded_and_sent_by_the_same_entry_is_meant_so() -> None:
    """`columns` says what leaves; the text of the embedding is another property."""
    assert parse(with_embedding(text="{title} {body}"))


def test_a_model_that_is_not_there_names_the_nearest() -> None:
    """Before anything is loaded."""
    collision(with_embedding(model="job"), "tables[0].embeddings[0].model", 'did you mean "jobs"?')


@pytest.mark.parametrize("setting", ["rename", "types"])
def test_a_setting_for_a_column_that_is_not_sent(setting: str) -> None:
    """A misspelt column's rename would silently do nothing."""
    collision(changed(f"tables.0.{setting}", {"salery": "text"}), f"tables[0].{setting}.salery", "tables[0].columns")


def test_a_hashed_key_that_is_also_sent() -> None:
    """The hash would protect nothing."""
    content = changed("tables.0.key", ["id"], changed("tables.0.hash_key_values", True))
    collision(content, "tables[0].columns", "hash_key_values")
