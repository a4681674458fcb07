"""Values: PostgreSQL's text becomes what RushDB keeps, or a reason."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byov_migrate.config import ValueType
from byov_migrate.records import Outgoing
from byov_migrate.source.shape import Column, TypeName
from byov_migrate.source.values import Elements, Unfit, suits, value_reader

CANARY = "8675309"


def column(base: str, *, array: bool = False, name: str = "col", kind: str = "b") -> Column:
    """A column of a type of pg_catalog."""
    type_ = TypeName("pg_catalog", base, kind, "U")
    element = type_ if array else None
    whole = TypeName("pg_catalog", f"_{base}", "b", "A") if array else type_
    return Column(name, base, base, -1, False, "", whole, element, ("pg_catalog", "x"))


def read(base: str, value: str | Elements, chosen: ValueType | None = None) -> Outgoing | Unfit:
    """One value of a column of this type."""
    return value_reader(column(base, array=isinstance(value, list)), chosen).read(value)


def code(base: str, value: str | Elements, chosen: ValueType | None = None) -> str:
    """The code of a value that must be refused."""
    result = read(base, value, chosen)
    assert isinstance(result, Unfit)
    return result.code


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_arrives_exactly_or_not_at_all(number: int) -> None:
    """JavaScript rounds beyond 2^53 without a word, so nothing beyond it is sent as a number."""
    result = read("int8", str(number))
    assert result == number if abs(number) <= 2**53 else isinstance(result, Unfit)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**14), max_value=10**14))
def test_a_numeric_is_sent_only_when_its_double_reads_the_same(number: Decimal) -> None:
    """What a reader of the JSON sees is the number that PostgreSQL holds, digit for digit."""
    result = read("numeric", f"{number:f}")
    if isinstance(result, Unfit):
        assert Decimal(repr(float(number))) != number
    else:
        assert isinstance(result, int | float)
        assert Decimal(repr(result)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_keeps_every_bit(number: float) -> None:
    """The shortest text is read back to the same double; only -0 becomes 0, as RushDB would make it."""
    assert read("float8", repr(number)) == number


@given(st.datetimes(min_value=dt.datetime(1, 1, 1)))  # noqa: DTZ001 - a timestamp without time zone
def test_a_timestamp_keeps_its_microseconds(moment: dt.datetime) -> None:
    """Always six digits: one moment has one text, hence one hash."""
    text = moment.isoformat(" ").rstrip("0") if moment.microsecond else moment.isoformat(" ")
    assert read("timestamp", text) == moment.isoformat(timespec="microseconds")
    assert read("timestamptz", f"{text}+00") == moment.isoformat(timespec="microseconds") + "+00:00"
    assert read("timestamptz", f"{text}+00", "datetime-ms") == moment.isoformat(timespec="milliseconds") + "+00:00"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_text_is_sent_as_it_is(text: str) -> None:
    """No trimming, no normalisation, whatever the text looks like."""
    assert read("text", text) == text
    assert read("text", [text, text]) == [text, text]


@pytest.mark.parametrize(
    ("base", "text", "expected"),
    [
        ("bool", "true", True),
        ("bool", "false", False),
        ("float4", "0.1", 0.1),  # not 0.10000000149, the double that the float4 is
        ("float8", "-0", 0),
        ("float8", "1e+300", 1e300),
        ("numeric", "80000.00", 80000),
        ("numeric", "0.1", 0.1),
        ("numeric", "100000000000000000000", 1e20),
        ("date", "0001-01-01", "0001-01-01"),
        ("time", "24:00:00", "24:00:00"),
        ("interval", "1 mon -3 days", "1 mon -3 days"),
        ("json", '{"$id": 1, "a": [1]}', '{"$id": 1, "a": [1]}'),
        ("bytea", "\\x00ff", "\\x00ff"),
        ("uuid", "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_a_value_has_the_form_that_the_formats_name(base: str, text: str, expected: Outgoing) -> None:
    """Each form is written into hashes and can never change."""
    result = read(base, text)
    assert (type(result), result) == (type(expected), expected)


@pytest.mark.parametrize(
    ("base", "text", "expected"),
    [
        ("int8", "9007199254740993", "integer-range"),
        ("float8", "NaN", "not-finite"),
        ("float4", "-Infinity", "not-finite"),
        ("numeric", "NaN", "not-finite"),
        ("numeric", "Infinity", "not-finite"),
        ("numeric", "0.12345678901234567890", "precision"),
        ("numeric", "12345678901234567890", "precision"),
        ("numeric", "1" + "0" * 400, "number-range"),
        ("date", "infinity", "infinity"),
        ("timestamptz", "-infinity", "infinity"),
        ("date", "0044-03-15 BC", "before-christ"),
        ("timestamptz", "0044-03-15 12:00:00+00 BC", "before-christ"),
        ("timestamp", "10000-01-01 00:00:00", "year-range"),
        ("money", "$1.00", "type"),
        ("xml", "<a/>", "type"),
        ("point", "(1,2)", "type"),
    ],
)
def test_what_rushdb_would_alter_is_refused_with_a_code(base: str, text: str, expected: str) -> None:
    """Silence would be a loss: each of these is rounded, retyped or dropped by a server in JavaScript."""
    assert code(base, text) == expected
    assert read(base, text, "text") == text


def test_arrays_are_refused_when_rushdb_would_drop_or_take_apart() -> None:
    """NULL elements vanish there, inner arrays become records of their own."""
    assert read("int4", ["1", "2"]) == [1, 2]
    assert read("int4", []) == []
    assert read("bool", ["t", "f"]) == [True, False]
    assert code("int4", ["1", None]) == "array-null"
    assert code("int4", [["1"], ["2"]]) == "array-nested"
    assert code("int8", ["1", "9007199254740993"]) == "integer-range"


def test_number_takes_the_nearest_double_but_never_a_non_number() -> None:
    """`types = number` gives digits up, not meaning."""
    assert read("int8", "9007199254740993", "number") == 2.0**53
    assert read("numeric", "0.12345678901234567890", "number") == 0.12345678901234568
    assert code("numeric", "NaN", "number") == "not-finite"
    assert code("numeric", "1" + "0" * 400, "number") == "number-range"


def test_a_refusal_names_the_setting_and_never_the_value() -> None:
    """A reject is kept and printed; a row's value must be in neither."""
    result = value_reader(column("numeric", name='we"ird col'), None).read(f"0.{CANARY}{CANARY}{CANARY}")
    assert isinstance(result, Unfit)
    assert CANARY not in repr(result)
    assert result.setting == 'types = { "we\\"ird col" = "text" }'
    plain = value_reader(column("money"), None).read("$1")
    assert isinstance(plain, Unfit)
    assert plain.setting == 'types = { col = "text" }'


@pytest.mark.parametrize(
    ("base", "chosen", "expected"),
    [
        ("numeric", "number", True),
        ("text", "number", False),
        ("money", "number", False),
        ("timestamptz", "datetime-ms", True),
        ("date", "datetime-ms", False),
        ("xml", "text", True),
    ],
)
def test_types_says_only_what_the_column_can_be(base: str, chosen: ValueType, expected: bool) -> None:  # noqa: FBT001
    """`number` on a text column would fail on the first row instead of in `check`."""
    assert suits(column(base), chosen) is expected


def test_every_number_that_is_sent_is_json() -> None:
    """NaN and infinity would be written as null by the encoder."""
    for text in ("NaN", "Infinity", "-Infinity"):
        for base in ("float4", "float8", "numeric"):
            result = read(base, text)
            assert not isinstance(result, float) or math.isfinite(result)
