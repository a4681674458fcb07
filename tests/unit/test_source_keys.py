"""The canonical key: golden forms, and a way back for each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byov_migrate.source.keys import canonical_key, is_key_type, parse_key
from byov_migrate.source.shape import TypeName

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def types(*names: str) -> list[TypeName]:
    """Types of pg_catalog."""
    return [TypeName("pg_catalog", name, "b", "U") for name in names]


@pytest.mark.parametrize(
    ("base", "text", "expected"),
    [
        ("int4", "-5", "-5"),
        ("int8", "9223372036854775807", "9223372036854775807"),
        ("numeric", "1.50", "1.5"),
        ("numeric", "100", "100"),
        ("numeric", "0.000", "0"),
        ("uuid", "0b8a2c2e-0000-4000-8000-000000000001", "0b8a2c2e-0000-4000-8000-000000000001"),
        ("bool", "true", "true"),
        ("bytea", "\\x00ff", "00ff"),
        ("text", "plain", "plain"),
        ("text", "", "~"),
        ("text", "7up", "~7up"),
        ("text", "+49", "~+49"),
        ("text", "-", "~-"),
        ("text", "~x", "~~x"),
        ("text", "[1]", "~[1]"),
        ("text", " x", "~ x"),
        ("text", "\u00a0x", "~\u00a0x"),
        ("text", "\ufeff7", "~\ufeff7"),
        ("bpchar", "ab", "ab"),
        ("timestamptz", "2024-01-02 03:04:05+00", "~2024-01-02T03:04:05.000000Z"),
        ("timestamptz", "2024-01-02 03:04:05.12+00", "~2024-01-02T03:04:05.120000Z"),
        ("timestamptz", "infinity", "~infinity"),
        ("timestamp", "0044-03-15 12:00:00 BC", "~0044-03-15T12:00:00.000000 BC"),
        ("date", "2024-01-02", "~2024-01-02"),
    ],
)
def test_the_canonical_form_never_changes(base: str, text: str, expected: str) -> None:
    """These are stored in the target: another form would double every record."""
    assert canonical_key(types(base), (text,)) == expected


def test_a_composite_key_is_compact_json_in_key_order() -> None:
    """Non-ASCII stands unescaped; each part has its own canonical form."""
    assert canonical_key(types("int4", "text"), ("7", "7 Köln")) == '["7","~7 Köln"]'


@given(TEXT, TEXT)
def test_two_texts_never_share_a_key(one: str, other: str) -> None:
    """A shared key would make one record of two rows."""
    assert (canonical_key(types("text"), (one,)) == canonical_key(types("text"), (other,))) == (one == other)


@given(st.lists(TEXT, min_size=2, max_size=3))
def test_the_way_back_finds_the_same_text(parts: list[str]) -> None:
    """A hit's `byovKey` leads to its local row."""
    columns = types(*["text"] * len(parts))
    assert parse_key(columns, canonical_key(columns, tuple(parts))) == tuple(parts)


@given(TEXT)
def test_a_single_text_never_looks_like_a_number_or_a_list(text: str) -> None:
    """RushDB reads strings that look like dates as dates."""
    first = canonical_key(types("text"), (text,))[:1]
    assert first == "~" or not (first in "0123456789+-[" or first.isspace())


@pytest.mark.parametrize(
    ("base", "foreign"),
    [
        ("int4", "abc"),
        ("int4", "2147483648"),
        ("int8", "007"),
        ("uuid", "no"),
        ("timestamptz", "~2024-01-02"),
        ("timestamptz", "2024-01-02T03:04:05.000000Z"),
        ("bytea", "f"),
        ("numeric", "1e5"),
        ("bool", "t"),
        ("text", "a\0b"),
    ],
)
def test_a_key_of_somebody_else_is_none_of_ours(base: str, foreign: str) -> None:
    """It must never reach a cast, where it would end the query for all the others."""
    assert parse_key(types(base), foreign) is None


@pytest.mark.parametrize("foreign", ["", "[", "[1,2]", '["1"]', '{"a":1}', '["1","x","y"]'])
def test_no_composite_key_is_read_from_something_else(foreign: str) -> None:
    """As above, for JSON."""
    assert parse_key(types("int4", "text"), foreign) is None


def test_types_whose_equality_is_not_their_text_are_no_keys() -> None:
    """-0 and 0 are one float; citext compares without case but is cast to text under our search path."""
    assert not is_key_type(TypeName("pg_catalog", "float8", "b", "N"))
    assert not is_key_type(TypeName("public", "citext", "b", "S"))
    assert not is_key_type(TypeName("public", "text", "c", "C"))
    assert is_key_type(TypeName("public", "mood", "e", "E"))
