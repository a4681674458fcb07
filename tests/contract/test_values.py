"""What becomes of a value: kept, rounded, typed otherwise, dropped."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.rushdb_api import Rushdb, data, message


def stored(rushdb: Rushdb, label: str, value: Any, **options: Any) -> tuple[Any, str | None]:
    """Value and type of a property as the import returns them."""
    record = rushdb.create(label, [{"k": "row", "value": value}], **options)[0]
    return record.get("value"), record["__proptypes"].get("value")


@pytest.mark.parametrize("value", [None, [None]])
def test_null_stores_nothing(rushdb: Rushdb, label: str, value: Any) -> None:
    """Absent and null cannot be told apart afterwards."""
    record = rushdb.create(label, [{"k": "row", "value": value}])[0]
    assert "value" not in record
    assert "value" not in record["__proptypes"]


@pytest.mark.parametrize(
    "value",
    ["", " ", "007", "true", "NaN", "{}", "a\"b'c\\d\ne", "\x00", "\U0001f600", "Ярлык", "x" * 100_000],
    ids=["empty", "blank", "digits", "word", "nan", "json", "marks", "nul", "emoji", "cyrillic", "long"],
)
def test_text_is_kept_as_it_is(rushdb: Rushdb, label: str, value: str) -> None:
    """An empty text is a value; nothing is trimmed, parsed or normalised."""
    assert (value, "string") == stored(rushdb, label, value)
    assert value == rushdb.find(label)[0]["value"]


@pytest.mark.parametrize("number", [1, 0, -5, 1.5, 1e300, 5e-324, 2**53, -(2**53), 0.1])
def test_doubles_are_exact(rushdb: Rushdb, label: str, number: float) -> None:
    """Every double comes back as the same double."""
    assert (number, "number") == stored(rushdb, label, number)


@pytest.mark.parametrize(
    ("sent", "text"),
    [(2.0, "2"), (-0.0, "0"), (2**53 + 1, "9007199254740992"), (2**63 - 1, "9223372036854776000"), (1e21, "1e+21")],
)
def test_integers_are_doubles(rushdb: Rushdb, label: str, sent: float, text: str) -> None:
    """Beyond 2^53 an integer is rounded without a word; a whole double loses its point."""
    rushdb.create(label, [{"k": "row", "value": sent}])
    value = rushdb.find(label)[0]["value"]
    assert json.loads(text) == value
    assert type(json.loads(text)) is type(value)


@pytest.mark.parametrize("flag", [True, False])
def test_booleans_are_booleans(rushdb: Rushdb, label: str, flag: bool) -> None:  # noqa: FBT001 - the value under test
    """Not 0 and 1."""
    value, kind = stored(rushdb, label, flag)
    assert value is flag
    assert kind == "boolean"


@pytest.mark.parametrize(
    "moment",
    [
        "2024-01-02",
        "0001-01-01",
        "2024-02-29",
        "2024-01-02T03:04:05",
        "2024-01-02T03:04:05Z",
        "2024-01-02T03:04:05z",
        "2024-01-02T03:04:05.123456+00:00",
        "2024-01-02T03:04:05.123456789Z",
        "2024-01-02T03:04:05+05:30",
        "2024-01-02T03:04:05+0530",
    ],
)
def test_iso_moments_are_datetimes_with_their_text_unchanged(rushdb: Rushdb, label: str, moment: str) -> None:
    """What the source sends as a timestamp is typed datetime, to the microsecond."""
    assert (moment, "datetime") == stored(rushdb, label, moment)


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-02 03:04:05",
        "2024-01-02 03:04:05+00",
        "2024-01-02T03:04:05+00",
        "2024-01-02T03:04:05+05:10",
        "2024-01-02T03:04",
        "2024-01-02T24:00:00",
        "2024-01-02T03:04:60",
        "2024-01-02T03:04:05.",
        "2024-01-02T03:04:05.1234567890Z",
        "2024-02-30",
        "2023-02-29",
        "2024-13-45",
        "2024-1-2",
        "2024-01-02 ",
        "0044-03-15 BC",
        "10:00:00",
        "infinity",
    ],
)
def test_other_moments_stay_text(rushdb: Rushdb, label: str, text: str) -> None:
    """PostgreSQL's own spelling among them: a blank for the T, an offset without minutes."""
    assert (text, "string") == stored(rushdb, label, text)


@pytest.mark.parametrize(
    ("sent", "kept", "kind"),
    [
        ([1, 2], [1, 2], "number"),
        (["a", "b"], ["a", "b"], "string"),
        ([True, False], [True, False], "boolean"),
        ([], [], "string"),
        ([""], [""], "string"),
        (["a", None], ["a"], "string"),
        (["2024-01-02", "2024-01-03"], ["2024-01-02", "2024-01-03"], "datetime"),
        (["2024-01-02", "x"], ["2024-01-02", "x"], "datetime"),
        (["x", "2024-01-02"], ["x", "2024-01-02"], "string"),
        ([1, "a"], ["1", "a"], "string"),
        ([True, 1], ["true", "1"], "string"),
    ],
)
def test_lists_have_one_type(rushdb: Rushdb, label: str, sent: list[Any], kept: list[Any], kind: str) -> None:
    """The first element decides on datetime; a mixed list becomes text; nulls go."""
    assert (kept, kind) == stored(rushdb, label, sent)


def test_numbers_mixed_with_numeric_texts_refuse_the_whole_import(rushdb: Rushdb, label: str) -> None:
    """One such list and none of the rows is stored."""
    response = rushdb.import_rows(label, [{"k": "good"}, {"k": "bad", "value": [1, "2"]}])
    assert message(response, 400).startswith("Import failed: Neo4j only supports a subset of Cypher types")
    assert rushdb.total(label) == 0


@pytest.mark.parametrize(
    ("sent", "text"),
    [(1, "1"), (2.0, "2"), (1.5, "1.5"), (True, "true"), ("2024-01-02", "2024-01-02"), (2**53 + 1, "9007199254740992")],
)
def test_options_without_suggest_types_turn_everything_into_text(
    rushdb: Rushdb, label: str, sent: Any, text: str
) -> None:
    """The trap: `options` must always carry `suggestTypes`."""
    body = {"label": label, "data": [{"value": sent}], "options": {"returnResult": True}}
    record = data(rushdb.call("POST", "/records/import/json", body), 201)[0]
    assert (text, "string") == (record["value"], record["__proptypes"]["value"])


def test_without_suggest_types_lists_become_texts_too(rushdb: Rushdb, label: str) -> None:
    """Element by element."""
    assert stored(rushdb, label, [1, None, True], suggestTypes=False) == (["1", "true"], "string")


def test_without_options_types_are_kept(rushdb: Rushdb, label: str) -> None:
    """`suggestTypes` is on when nobody speaks of options."""
    data(rushdb.call("POST", "/records/import/json", {"label": label, "data": [{"value": 1}]}), 201)
    assert rushdb.find(label)[0]["__proptypes"] == {"value": "number"}


def test_skip_empty_values_drops_empty_texts_and_lists(rushdb: Rushdb, label: str) -> None:
    """Why it must never be sent: the empty property that carries a vector would go."""
    record = rushdb.create(label, [{"k": "row", "text": "", "list": []}], skipEmptyValues=True)[0]
    assert record["__proptypes"] == {"k": "string"}


def test_a_property_may_have_two_types_in_two_records(rushdb: Rushdb, label: str) -> None:
    """Nothing is coerced to the type that came first; a comparison sees only its own type."""
    rushdb.create(label, [{"value": 1}, {"value": "1"}])
    assert [record["value"] for record in rushdb.find(label, {"value": 1})] == [1]
    assert [record["value"] for record in rushdb.find(label, {"value": "1"})] == ["1"]
    assert rushdb.total(label, {"value": {"$gt": 0}}) == 1
