"""The one filter grammar: `where`, `deleted_when` and `search --where` read `NAME OP VALUE`, never SQL.

location ~ Berlin        salaryMin>=80000        status in (open, "on hold")
deleted_at is not null   Company.name = "Acme"
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

Operator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">=", "~", "in", "is null", "is not null"]

_HEAD = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^\s"=!<>~()]+))\s*')
_NULL = re.compile(r"is\s+(not\s+)?null\s*$", re.IGNORECASE)
_COMPARE = re.compile(r"(<=|>=|!=|=|<|>|~)\s*(.*)$", re.DOTALL)
_IN = re.compile(r"in\s*\((.*)\)\s*$", re.IGNORECASE | re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ITEM = re.compile(rf'\s*(?:{_QUOTED.pattern}|([^\s,"][^,"]*?))\s*(?:,|$)', re.DOTALL)


class FilterError(ValueError):
    """The text is no filter; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One comparison. `name` may lead across a link, as in `Company.name`."""

    name: str
    operator: Operator
    values: tuple[str, ...] = ()
    quoted: bool = False  # all of it written in double quotes: text, whatever it looks like


def parse_filter(text: str) -> Filter:
    """Raise FilterError with what was expected."""
    head = _HEAD.match(text)
    if head is None:
        raise FilterError("starts with no name; expected NAME OP VALUE, as in salary_min >= 80000")
    name = (head.group(1) or "").replace('""', '"') or head.group(2)
    rest = text[head.end() :]
    if null := _NULL.match(rest):
        return Filter(name, "is not null" if null.group(1) else "is null")
    if listed := _IN.match(rest):
        return Filter(name, "in", *_items(listed.group(1)))
    if compared := _COMPARE.match(rest):
        value, quoted = _value(compared.group(2).strip())
        return Filter(name, cast(Operator, compared.group(1)), (value,), quoted)
    raise FilterError("has no operator; expected one of = != < <= > >= ~ in, 'is null', 'is not null'")


def _value(text: str) -> tuple[str, bool]:
    if quoted := _QUOTED.fullmatch(text):
        return _unescaped(quoted.group(1)), True
    if text.startswith('"'):
        raise FilterError('has a double quote that is not closed at the end; inside a value it is written \\"')
    if not text:
        raise FilterError("has no value; an empty string is written as two double quotes")
    return text, False


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _items(text: str) -> tuple[tuple[str, ...], bool]:
    items, all_quoted, end = [], True, 0
    while end < len(text):
        item = _ITEM.match(text, end)
        if item is None:
            raise FilterError("has a list that is not 'in (a, b)'")
        quoted = item.group(1)
        items.append(_unescaped(quoted) if quoted is not None else item.group(2))
        all_quoted, end = all_quoted and quoted is not None, item.end()
    if not items:
        raise FilterError("has an empty list")
    return tuple(items), all_quoted
