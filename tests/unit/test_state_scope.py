"""What a state belongs to, field by field, and what a change of each field means."""

from __future__ import annotations

from typing import Any

import pytest

from byov_migrate.config import TableConfig
from byov_migrate.state.scope import (
    ACCEPT_SOURCE,
    APPLY,
    REEMBED,
    Applying,
    ChangeClass,
    Difference,
    change_class,
    compare,
    next_step,
    table_fields,
)

EMBEDDING = {"property": "description", "text": "{body}", "model": "jobs"}
TABLE = {"name": "public.job", "label": "Job", "columns": ["id", "title"], "embeddings": [EMBEDDING]}


def fields(fingerprint: str = "f" * 64, key: tuple[str, ...] = ("id",), **table: Any) -> dict[str, Any]:
    """The scope of a table with one embedding."""
    config = TableConfig.model_validate({**TABLE, **table})
    return table_fields(config, key, {"description": fingerprint})


def embedding(**changes: Any) -> dict[str, Any]:
    """The table with its embedding changed."""
    return fields(embeddings=[{**EMBEDDING, **changes}])


CHANGES: dict[str, tuple[dict[str, Any], str, ChangeClass]] = {
    "columns": (fields(columns=["id"]), "columns", "apply"),
    "rename": (fields(rename={"title": "name"}), "rename", "apply"),
    "types": (fields(types={"id": "text"}), "types", "apply"),
    "where": (fields(where=["a = 1"]), "where", "apply"),
    "deleted_when": (fields(deleted_when="a is null"), "deleted_when", "apply"),
    "label": (fields(label="Posting"), "label", "another"),
    "key": (fields(key=("other",)), "key", "another"),
    "hash_key_values": (fields(hash_key_values=True), "hash_key_values", "another"),
    "send_text": (embedding(send_text=True), "embeddings[description].send_text", "apply"),
    "empty_text": (embedding(empty_text="reject"), "embeddings[description].empty_text", "apply"),
    "spare": (embedding(spare=False), "embeddings[description].spare", "apply"),
    "text": (embedding(text="{body} {title}"), "embeddings[description].text", "re-embed"),
    "model files": (fields(fingerprint="e" * 64), "embeddings[description].fingerprint", "re-embed"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_found_and_has_its_class(change: str) -> None:
    """A field that is not compared lets two meanings stand in one index."""
    current, field, expected = CHANGES[change]
    [difference] = compare(fields(), current)
    assert difference.field == f"tables[public.job].{field}"
    assert difference.change == expected


def test_text_and_ready_vectors_are_two_kinds_of_vector() -> None:
    """Three fields say so, each asks for embedding again."""
    ready = {"property": "description", "vector": "embedding"}
    differences = compare(fields(), fields(embeddings=[ready]))
    assert {item.field.rpartition(".")[2] for item in differences} == {"text", "vector", "fingerprint"}
    assert {item.change for item in differences} == {"re-embed"}


@pytest.mark.parametrize(
    "free",
    [
        {"strategy": "watermark"},
        {"changed_by": "updated_at"},
        {"overlap": "1h"},
        {"sweep_every": "1d"},
        {"delete_ceiling": 5},
        {"reject_ceiling": 5},
        {"allow_overlap": ["x"]},
        {"keep_properties": ["x"]},
        {"window_max_rows": 1},
    ],
    ids=lambda free: next(iter(free)),
)
def test_free_settings_are_never_compared(free: dict[str, Any]) -> None:
    """A ceiling is raised for one run; nothing that is stored depends on it."""
    assert fields(**free) == fields()


def test_every_setting_of_a_table_is_in_a_class() -> None:
    """A setting that is added later must be put into one on purpose."""
    free = {
        *("strategy", "changed_by", "overlap", "sweep_every", "delete_ceiling", "reject_ceiling"),
        *("allow_overlap", "keep_properties", "window_max_rows", "name", "embeddings"),
    }
    compared = {field.rpartition(".")[2] for field in fields() if ".embeddings[" not in field} - {"schema"}
    assert set(TableConfig.model_fields) == free | compared


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a in (x y)", "a in (x, y)"),
        ("a = x", "a != x"),
        ("a = x", "b = x"),
        ("a is null", "a is not null"),
        ('a in ("x, y")', "a in (x, y)"),
    ],
)
def test_two_filters_are_never_taken_for_one(one: str, other: str) -> None:
    """Other rows would be selected, and nobody would be told."""
    assert compare(fields(where=[one]), fields(where=[other]))


def test_a_filter_written_differently_is_the_same() -> None:
    """Spaces and quotes are spelling."""
    assert compare(fields(where=["a=x"]), fields(where=['a  =  "x"'])) == []


def test_a_new_embedding_has_to_be_written_only() -> None:
    """Nothing that is stored becomes wrong by it."""
    second = {"property": "summary", "text": "{title}", "model": "jobs"}
    differences = compare(fields(), fields(embeddings=[EMBEDDING, second]))
    assert differences
    assert {item.change for item in differences} == {"apply"}


def test_an_embedding_that_is_gone_or_renamed_is_another_migration() -> None:
    """Its index would stay behind, and nobody would keep it current."""
    renamed = compare(fields(), fields(embeddings=[{**EMBEDDING, "property": "body"}]))
    gone = [item for item in renamed if "[description]" in item.field]
    assert {item.change for item in gone} == {"another"}


def test_tables_that_are_not_spoken_of_are_not_compared() -> None:
    """`backfill --table` opens one table of many, and a new table has nothing stored."""
    other = fields(name="public.other", label="Other")
    assert compare({**fields(), **other}, fields()) == []
    assert compare(fields(), {**fields(), **other}) == []


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("source.system", "re-identify"),
        ("source.database", "re-identify"),
        ("target.project", "re-identify"),
        ("hash_key", "another"),
    ],
)
def test_the_two_ends_have_a_class_too(field: str, expected: ChangeClass) -> None:
    """A restored copy of the database is the same migration once a person says so; another hash key never is."""
    [difference] = compare({field: "old"}, {field: "new"})
    assert difference.change == change_class(field) == expected


def test_a_difference_is_a_sentence_with_both_values() -> None:
    """Somebody has to decide by it."""
    [difference] = compare(fields(), fields(label="Posting"))
    assert str(difference).startswith("tables[public.job].label is now Posting, was Job: ")
    [absent] = compare(fields(), fields(deleted_when="a is null"))
    assert "was absent" in str(absent)


STEPS: dict[ChangeClass, str] = {
    "apply": APPLY,
    "re-embed": REEMBED,
    "another": "put the old values back, or give the new ones a state and a label of their own",
    "re-identify": ACCEPT_SOURCE,
}
PLACES = {"source.system", "source.database", "target.project", "hash_key"}


@pytest.mark.parametrize("field", [*fields(), "tables[public.job].links", *sorted(PLACES)])
def test_every_field_has_a_class_and_a_next_step(field: str) -> None:
    """Nobody is left with an exit 4 and no way on."""
    change = change_class(field)
    found = f"{field}.id" if field.endswith(".schema") else field  # those are told column by column
    step = next_step([Difference(found, change, "old", "new")])
    assert (STEPS[change] if field != "target.project" else "the key of the project") in step


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["apply", "re-embed"], STEPS["re-embed"]),
        (["apply", "another"], STEPS["another"]),
        (["re-embed", "another"], STEPS["another"]),
        (["apply", "re-identify"], f"{ACCEPT_SOURCE} with the old settings, then {APPLY} with the new ones"),
    ],
)
def test_the_hardest_of_several_classes_decides(classes: list[ChangeClass], expected: str) -> None:
    """A command that would be refused again is no way on."""
    names = {"re-identify": "source.system"}
    differences = [Difference(names.get(change, "tables[public.job].x"), change, 1, 2) for change in classes]
    assert expected in next_step(differences)


def test_an_apply_under_way_is_no_difference() -> None:
    """The settings are those of the state; only records lag behind."""
    assert compare({**fields(), "tables[public.job].applying": Applying(("columns",)).stored()}, fields()) == []


def test_an_unfinished_apply_is_gone_on_with_by_the_next_one() -> None:
    """What the first had removed still has to go, unless it is back."""
    first = Applying(("columns",), frozenset({"pay", "city"}), frozenset({"Job.TAGGED"}))
    both = Applying(("rename",), frozenset({"title"})).after(first, ["id", "city"])
    assert both == Applying(("columns", "rename"), frozenset({"pay", "title"}), frozenset({"Job.TAGGED"}))
