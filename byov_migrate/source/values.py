"""One value: PostgreSQL's text -> what RushDB keeps unaltered, or why it cannot be kept."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

from byov_migrate.config import ValueType
from byov_migrate.records import Outgoing, Scalar
from byov_migrate.source.shape import Column, TypeName

Elements: TypeAlias = list[object]
"""A one-dimensional array as text, None for NULL; a list inside is a further dimension."""

EXACT_INTEGERS: Final = 2**53
_NUMBERS: Final = frozenset({"int2", "int4", "int8", "oid", "float4", "float8", "numeric"})
_MOMENTS: Final = frozenset({"timestamptz", "timestamp"})
_TEXTS: Final = frozenset(
    {
        "text",
        "varchar",
        "bpchar",
        "name",
        "char",
        "uuid",
        "json",
        "jsonb",
        "inet",
        "cidr",
        "interval",
        "time",
        "timetz",
        "bytea",
    }
)
_MOMENT = re.compile(r"(\d{4,})(-\d\d-\d\d)(?: (\d\d:\d\d:\d\d)(?:\.(\d+))?(?:\+00)?)?( BC)?")


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a value cannot be sent; never the value. `setting` is a whole line for `[[tables]]`."""

    code: str
    reason: str
    setting: str | None = None


Convert: TypeAlias = Callable[[str], "Scalar | Unfit"]


@dataclass(frozen=True, slots=True)
class ValueReader:
    """Reads one column. `as_elements` says which form to select: `::text[]`, else `::text`."""

    column: str
    convert: Convert
    as_elements: bool

    def read(self, value: str | Elements) -> Outgoing | Unfit:
        """value: as selected, not NULL."""
        result = self._elements(value) if isinstance(value, list) else self.convert(value)
        if isinstance(result, Unfit) and result.setting is None:
            return Unfit(result.code, result.reason, as_text(self.column))
        return result

    def _elements(self, values: Elements) -> list[Scalar] | Unfit:
        read: list[Scalar] = []
        for value in values:
            if not isinstance(value, str):
                return _NULL_ELEMENT if value is None else _NESTED
            result = self.convert(value)
            if isinstance(result, Unfit):
                return result
            read.append(result)
        return read


def value_reader(column: Column, chosen: ValueType | None) -> ValueReader:
    """How a column leaves; `chosen` is its entry in `types`."""
    if chosen == "text":
        return ValueReader(column.name, _same, as_elements=False)
    base = column.element or column.base
    return ValueReader(column.name, _converter(base, chosen), as_elements=column.element is not None)


def suits(column: Column, chosen: ValueType) -> bool:
    """Whether `types` may say this of a column."""
    base = column.element or column.base
    allowed = {"text": True, "number": base.name in _NUMBERS, "datetime-ms": base.name in _MOMENTS}[chosen]
    return allowed and (chosen == "text" or base.schema == "pg_catalog")


def as_text(column: str) -> str:
    """The line that sends a column as PostgreSQL's text."""
    bare = re.fullmatch(r"[A-Za-z0-9_-]+", column)
    return f'types = {{ {column if bare else json.dumps(column, ensure_ascii=False)} = "text" }}'


_NULL_ELEMENT = Unfit("array-null", "the array holds NULL, which RushDB drops without a word")
_NESTED = Unfit("array-nested", "the array has more than one dimension, which RushDB takes apart into records")
_NOT_FINITE = Unfit("not-finite", "NaN and infinity are no numbers in JSON")
_INFINITE = Unfit("infinity", "infinity is no date for RushDB")
_BEFORE_CHRIST = Unfit("before-christ", "a date before Christ is no date for RushDB")
_FAR_YEAR = Unfit("year-range", "a year beyond 9999 is no date for RushDB")
_BIG_INTEGER = Unfit("integer-range", "an integer beyond 2^53 loses its last digits in RushDB")
_PRECISION = Unfit("precision", "the number has more digits than a double keeps")
_OVERFLOW = Unfit("number-range", "the number is larger than any double")


def _converter(base: TypeName, chosen: ValueType | None) -> Convert:
    if base.kind in ("e", "r", "m") or (base.kind == "b" and base.category == "S"):
        return _same
    if base.schema != "pg_catalog":
        return _refusing(base)
    if chosen == "number":
        return _nearest
    if chosen == "datetime-ms":
        return _millisecond_instant if base.name == "timestamptz" else _millisecond_local
    return _CONVERTERS.get(base.name) or _refusing(base)


def _refusing(base: TypeName) -> Convert:
    unfit = Unfit("type", f"a value of type {base} has no lossless form in RushDB")
    return lambda _text: unfit


def _same(text: str) -> str:
    return text


def _truth(text: str) -> bool:
    return text in ("true", "t")  # a scalar's and an element's text


def _integer(text: str) -> int | Unfit:
    value = int(text)
    return value if abs(value) <= EXACT_INTEGERS else _BIG_INTEGER


def _tidy(value: float) -> int | float:
    """The same number, as JSON is shortest and people read it."""
    return int(value) if value.is_integer() and abs(value) <= EXACT_INTEGERS else value


def _double(text: str) -> int | float | Unfit:
    value = float(text)
    return _tidy(value) if math.isfinite(value) else _NOT_FINITE


def _exact(text: str) -> int | float | Unfit:
    if not text.lstrip("-")[:1].isdigit():
        return _NOT_FINITE
    value = float(text)
    if math.isinf(value):
        return _OVERFLOW
    return _tidy(value) if Decimal(repr(value)) == Decimal(text) else _PRECISION


def _nearest(text: str) -> int | float | Unfit:
    value = float(text)
    if math.isfinite(value):
        return _tidy(value)
    return _OVERFLOW if text.lstrip("-")[:1].isdigit() else _NOT_FINITE


def _moment(text: str, zone: str, digits: int) -> str | Unfit:
    found = _MOMENT.fullmatch(text)
    if found is None:
        return _INFINITE
    year, day, clock, fraction, era = found.groups()
    if era:
        return _BEFORE_CHRIST
    if len(year) > len("9999"):
        return _FAR_YEAR
    if clock is None:
        return f"{year}{day}"
    return f"{year}{day}T{clock}.{(fraction or '')[:digits].ljust(digits, '0')}{zone}"


def _day(text: str) -> str | Unfit:
    return _moment(text, "", 0)


def _local(text: str) -> str | Unfit:
    return _moment(text, "", 6)


def _instant(text: str) -> str | Unfit:
    return _moment(text, "+00:00", 6)


def _millisecond_local(text: str) -> str | Unfit:
    return _moment(text, "", 3)


def _millisecond_instant(text: str) -> str | Unfit:
    return _moment(text, "+00:00", 3)


_CONVERTERS: Final[dict[str, Convert]] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), _integer),
    **dict.fromkeys(("float4", "float8"), _double),
    "numeric": _exact,
    "bool": _truth,
    "date": _day,
    "timestamp": _local,
    "timestamptz": _instant,
    **dict.fromkeys(_TEXTS, _same),
}
