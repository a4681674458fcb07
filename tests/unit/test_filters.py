"""The one filter grammar: what is read, what is refused and how it says so."""

from __future__ import annotations

import contextlib
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byov_migrate.filters import Filter, FilterError, Operator, parse_filter

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
COMPARISONS = [operator for operator in get_args(Operator) if operator not in ("in", "is null", "is not null")]


def quoted(text: str) -> str:
    """A value as a person writes it in double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1", Filter("a", "=", ("1",))),
        ("a=1", Filter("a", "=", ("1",))),
        ("  a   =   1  ", Filter("a", "=", ("1",))),
        ("a != 1", Filter("a", "!=", ("1",))),
        ("a < 1", Filter("a", "<", ("1",))),
        ("a<=1", Filter("a", "<=", ("1",))),
        ("a>1", Filter("a", ">", ("1",))),
        ("a >= 1", Filter("a", ">=", ("1",))),
        ("a ~ Berlin", Filter("a", "~", ("Berlin",))),
        ("a = two words", Filter("a", "=", ("two words",))),
        ('a = "two words "', Filter("a", "=", ("two words ",), quoted=True)),
        ('a = ""', Filter("a", "=", ("",), quoted=True)),
        (r'a = "say \"hi\""', Filter("a", "=", ('say "hi"',), quoted=True)),
        (r'a = "C:\\x"', Filter("a", "=", (r"C:\x",), quoted=True)),
        ('a = "x" y', None),
        ("a = O'Neill", Filter("a", "=", ("O'Neill",))),
        ("a = x; DROP TABLE job", Filter("a", "=", ("x; DROP TABLE job",))),
        ("a = =", Filter("a", "=", ("=",))),
        ("a in (x, y)", Filter("a", "in", ("x", "y"))),
        ("a in(x,y)", Filter("a", "in", ("x", "y"))),
        ("a IN (x)", Filter("a", "in", ("x",))),
        ('a in (x, "y, z")', Filter("a", "in", ("x", "y, z"))),
        ('a in ("x", "y")', Filter("a", "in", ("x", "y"), quoted=True)),
        ('a in ("")', Filter("a", "in", ("",), quoted=True)),
        ("a in (two words, 3)", Filter("a", "in", ("two words", "3"))),
        ('a in (x, ")")', Filter("a", "in", ("x", ")"))),
        ("a is null", Filter("a", "is null")),
        ("a IS NOT NULL", Filter("a", "is not null")),
        ("a is  not   null ", Filter("a", "is not null")),
        ('"odd name" = 1', Filter("odd name", "=", ("1",))),
        ('"a ""b""" = 1', Filter('a "b"', "=", ("1",))),
        ("inventory = 1", Filter("inventory", "=", ("1",))),
        ("island is null", Filter("island", "is null")),
        ("Company.name = x", Filter("Company.name", "=", ("x",))),
        ("größe > 1", Filter("größe", ">", ("1",))),
    ],
)
def test_what_is_read(text: str, expected: Filter | None) -> None:
    """Values are text here; what they mean is the database's or RushDB's business."""
    if expected is None:
        with pytest.raises(FilterError):
            parse_filter(text)
    else:
        assert parse_filter(text) == expected


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "NAME OP VALUE"),
        ("= 1", "NAME OP VALUE"),
        ("a", "operator"),
        ("a b", "operator"),
        ("a like x", "operator"),
        ("a is nothing", "operator"),
        ("a = ", "value"),
        ("a in ()", "list"),
        ("a in ( )", "list"),
        ("a in (x, , y)", "list"),
        ("a in (, x)", "list"),
        ('a in ("x" "y")', "list"),
        ('a in ("x)', "list"),
        ("a in x", "operator"),
        ("a in (x", "operator"),
        ('a = "open', "quote"),
        ('a = "x" or "y"', "quote"),
        ('a = "', "quote"),
    ],
)
def test_what_is_refused_says_what_was_expected(text: str, word: str) -> None:
    """A filter that is half understood selects other rows than meant."""
    with pytest.raises(FilterError, match=word):
        parse_filter(text)


@given(ANY_TEXT, st.sampled_from(COMPARISONS))
def test_any_value_can_be_written_in_quotes(value: str, operator: Operator) -> None:
    """A value that cannot be written cannot be filtered for."""
    assert parse_filter(f"a {operator} {quoted(value)}") == Filter("a", operator, (value,), quoted=True)


@given(st.lists(ANY_TEXT, min_size=1, max_size=5))
def test_any_list_can_be_written_in_quotes(values: list[str]) -> None:
    """Commas, brackets and quotes inside of values included."""
    written = ", ".join(map(quoted, values))
    assert parse_filter(f"a in ({written})") == Filter("a", "in", tuple(values), quoted=True)


@given(ANY_TEXT.filter(bool))
def test_any_name_can_be_written_in_quotes(name: str) -> None:
    """PostgreSQL allows every character in a column's name."""
    written = name.replace('"', '""')
    assert parse_filter(f'"{written}" is null') == Filter(name, "is null")


@given(ANY_TEXT)
def test_any_text_is_read_or_refused(text: str) -> None:
    """No other exception: it would end as a bug instead of a sentence."""
    with contextlib.suppress(FilterError):
        assert parse_filter(text).name
