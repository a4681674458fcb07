"""Filters as RushDB `where` documents. Pure.

RushDB compares with types: an unquoted number is sent as a number, `true` and `false` as booleans, everything else as
text. `$contains` is a regular expression on the platform and ignores case, so what is searched is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from byov_migrate.errors import ConfigurationError
from byov_migrate.filters import Filter

Typed: TypeAlias = str | float | bool
Path: TypeAlias = tuple[str, ...]
"""Labels, then a property: `("Company", "name")`."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}(T.*)?")
_COMPARISONS = {"<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}
EVERY_RECORD = {"byovKey": {"$exists": True}}
"""Matches all records of ours; any `where` makes a search exact."""


def to_where(filters: Iterable[Filter], path_of: Callable[[Filter], Path]) -> dict[str, Any]:
    """One document that all filters must meet; those across one label must be met by one linked record.

    path_of: the labels that a filter leads across, then the property. Raise ConfigurationError for what RushDB cannot
    compare.
    """
    return _joined([(path_of(item), _comparison(item)) for item in filters])


def _joined(items: Sequence[tuple[Path, Any]]) -> dict[str, Any]:
    """Flat where no name is there twice, which is the form that is best known; else joined by `$and`."""
    linked: dict[str, list[tuple[Path, Any]]] = {}
    for (first, *rest), comparison in items:
        if rest:
            linked.setdefault(first, []).append((tuple(rest), comparison))
    conditions = [{path[0]: comparison} for path, comparison in items if len(path) == 1]
    conditions += [{label: _joined(inner)} for label, inner in linked.items()]
    return all_of(conditions)


def all_of(conditions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The document that holds where all of these do; `{}` without any."""
    names = [name for condition in conditions for name in condition]
    if len(names) == len(set(names)):
        return {name: value for condition in conditions for name, value in condition.items()}
    return {"$and": [dict(condition) for condition in conditions]}


def _comparison(item: Filter) -> Any:
    if item.operator == "is null":
        return {"$exists": False}
    if item.operator == "is not null":
        return {"$exists": True}
    if item.operator == "in":
        return {"$in": _alike([_typed(value, quoted=item.quoted) for value in item.values], item.values)}
    if item.operator == "~":
        return {"$contains": _searchable(item.values[0])}
    value = _typed(item.values[0], quoted=item.quoted)
    if item.operator in _COMPARISONS:
        return {_COMPARISONS[item.operator]: _orderable(value, item)}
    return value if item.operator == "=" else {"$ne": value}


def _typed(text: str, *, quoted: bool) -> Typed:
    if quoted:
        return text
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        number = float(text)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return text


def _alike(typed: list[Any], texts: Iterable[str]) -> list[Any]:
    """RushDB refuses lists of mixed types; such a list is text."""
    kinds = {bool if isinstance(value, bool) else str if isinstance(value, str) else float for value in typed}
    return typed if len(kinds) == 1 else list(texts)


def _orderable(value: Typed, item: Filter) -> str | float:
    if isinstance(value, bool) or (isinstance(value, str) and not _INSTANT.fullmatch(value)):
        raise ConfigurationError(
            f"--where {item.name} {item.operator}: RushDB orders numbers and dates (2026-01-31) only;"
            " use = or ~ for text"
        )
    return value


def _searchable(text: str) -> str:
    if '"' in text:
        raise ConfigurationError("--where with ~ cannot look for a double quote in RushDB")
    return re.sub(r"([.^$*+?{}\[\]\\|()])", r"\\\1", text)
