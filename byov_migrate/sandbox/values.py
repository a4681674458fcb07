"""How RushDB types the values it is sent: every number a double, some texts a datetime, null nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from byov_migrate.sandbox.replies import import_failed, refused

Value = str | float | int | bool | list[Any]
Typed = tuple[Value, str]

# The order in which the server lists them in its message.
DISALLOWED_KEYS = (
    "$and", "$or", "$xor", "$nor", "$not", "$eq", "$in", "$ne", "$nin", "$gte", "$gt", "$lte", "$lt", "$contains",
    "$startsWith", "$endsWith", "$exists", "$day", "$hour", "$microsecond", "$millisecond", "$minute", "$month",
    "$nanosecond", "$second", "$year", "$type", "__score", "__id", "__projectId", "__proptypes", "__label",
    "$relation", "$id", "$alias",
)  # fmt: skip
HIDDEN_RESERVED = frozenset({"__RUSHDB__KEY__ID__", "__RUSHDB__KEY__LABEL__", "__RUSHDB__KEY__PROPERTIES__META__"})
RESERVED = frozenset(DISALLOWED_KEYS) | HIDDEN_RESERVED

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?([zZ]|[+-](0\d|1[0-3]):?(00|15|30|45))?", re.ASCII)
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class Content:
    """The flat properties of one record and the type RushDB gives each of them."""

    properties: Mapping[str, Value]
    types: Mapping[str, str]


def as_number(number: float) -> float | int:
    """A number as it comes back: a double, without a point when it is whole.

    Beyond 2^53 the shortest digits are padded with zeros, as JavaScript prints them.
    """
    double = float(number)
    if not double.is_integer() or abs(double) >= 1e19:
        return double
    return int(double) if abs(double) < 2**53 else int(Decimal(repr(double)))


def as_text(value: Any) -> str:
    """A scalar as the text it becomes when types are not suggested."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(as_number(value))


def is_datetime(text: str) -> bool:
    """Whether a text is stored as a datetime: a date, or a date and time with `T`, seconds and at most an offset."""
    date, separator, time = text.partition("T")
    matched = _DATE.fullmatch(date)
    if matched is None or not _is_day(*map(int, matched.groups())):
        return False
    return bool(_TIME.fullmatch(time)) if separator else True


def _is_day(year: int, month: int, day: int) -> bool:
    if not 1 <= month <= 12 or not 1 <= day <= _DAYS[month - 1]:
        return False
    return (month, day) != (2, 29) or year % 4 == 0  # centuries count as leap years on the server too


def typed(value: Any, *, suggest: bool) -> Typed | None:
    """A scalar or flat list with its type, or None when nothing is stored for it.

    suggest: False stores every scalar as text, as `options` without `suggestTypes` does.
    Raises the import's 400 for a list that mixes numbers with numeric texts.
    """
    if value is None:
        return None
    if isinstance(value, list):
        return _typed_list(value, suggest=suggest)
    return _typed_scalar(value) if suggest else (as_text(value), "string")


def _typed_scalar(value: Any) -> Typed:
    if isinstance(value, bool):
        return value, "boolean"
    if isinstance(value, str):
        return value, "datetime" if is_datetime(value) else "string"
    return as_number(value), "number"


def _typed_list(items: list[Any], *, suggest: bool) -> Typed | None:
    kept = [item for item in items if item is not None]
    if not kept:
        return None if items else ([], "string")
    if not suggest:
        return [as_text(item) for item in kept], "string"
    scalars = [_typed_scalar(item) for item in kept]
    kinds = {"string" if kind == "datetime" else kind for _, kind in scalars}
    if len(kinds) == 1:
        return [value for value, _ in scalars], scalars[0][1]  # the first element decides between text and datetime
    if kinds == {"string", "number"} and all(_looks_numeric(item) for item in kept):
        raise import_failed(
            "Neo4j only supports a subset of Cypher types for storage as singleton or array properties. "
            "Please refer to section cypher/syntax/values of the manual for more details."
        )
    return [as_text(item) for item in kept], "string"


def _looks_numeric(item: Any) -> bool:
    return not isinstance(item, str) or re.fullmatch(r"\d+(\.\d+)?", item) is not None


def content_of(fields: Mapping[str, Any], *, suggest: bool = True, skip_empty: bool = False) -> Content:
    """Type flat fields; nulls are dropped, and empty texts and lists too with `skip_empty`."""
    properties: dict[str, Value] = {}
    types: dict[str, str] = {}
    for name, value in fields.items():
        stored = typed(value, suggest=suggest)
        if stored is None or (skip_empty and stored[0] in ("", [])):
            continue
        properties[name], types[name] = stored
    return Content(properties, types)


def refuse_reserved(body: Any) -> None:
    """Raise the 400 for a reserved key at any depth; `$vectors` is none."""
    if any(name in RESERVED for name in _keys_of(body)):
        listed = ",".join(f'"{name}"' for name in DISALLOWED_KEYS)
        raise refused(400, f"Request body contains disallowed keys: [{listed}]")


def _keys_of(body: Any) -> Iterator[str]:
    if isinstance(body, dict):
        for name, value in body.items():
            yield name
            if isinstance(value, (dict, list)) and name != "$vectors":
                yield from _keys_of(value)
    elif isinstance(body, list):
        for item in body:
            if isinstance(item, (dict, list)):
                yield from _keys_of(item)
