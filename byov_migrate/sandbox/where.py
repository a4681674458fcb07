"""`where` of a search, as a condition in SQL over the records' JSON.

Three-valued like the original: a comparison with a property that is not there is neither true nor false, so `$not` of
it finds nothing either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from byov_migrate.sandbox.records import LOOKUP_NAMES
from byov_migrate.sandbox.replies import Refusal, database_failure, refused
from byov_migrate.sandbox.store import check_pattern
from byov_migrate.sandbox.values import is_datetime

COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
DATE_PARTS = ("$year", "$month", "$day", "$hour", "$minute", "$second", "$millisecond", "$microsecond", "$nanosecond")
OPERATORS = frozenset({
    *COMPARISONS, "$eq", "$ne", "$in", "$nin", "$contains", "$startsWith", "$endsWith", "$exists", "$type",
})  # fmt: skip
LOGICAL = {"$and": " AND ", "$or": " OR ", "$nor": " OR ", "$xor": " <> ", "$not": " AND "}
TRUE = "1"
FALSE = "0"


@dataclass(frozen=True, slots=True)
class Condition:
    """A piece of SQL that yields 1, 0 or NULL, and its parameters in order."""

    sql: str
    parameters: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a condition stands: the record's alias, its project, and whether a negation surrounds it."""

    alias: str
    project: int
    negated: bool = False

    def related(self) -> Place:
        """The place of a linked record."""
        return Place(self.alias + "x", self.project, self.negated)

    def under_not(self) -> Place:
        """The same place inside a negation."""
        return Place(self.alias, self.project, negated=True)


def compile_where(where: Any, alias: str, project: int) -> Condition:
    """The condition of a whole `where` on the record `alias`. Raises 400 or 500 as the server does."""
    return _object(where or {}, Place(alias, project))


def json_path(name: str) -> str:
    """SQLite's path of a property; a name with a double quote breaks the query on the server too."""
    if '"' in name:
        raise database_failure()
    return f'$."{name}"'


def _type_path(name: str) -> str:
    return "$.__proptypes" + json_path(name)[1:]


def joined(conditions: Sequence[Condition], separator: str) -> Condition:
    """Several conditions as one; none of them is true."""
    if not conditions:
        return Condition(TRUE)
    parameters = tuple(value for condition in conditions for value in condition.parameters)
    if separator == LOGICAL["$xor"]:
        return Condition("".join("(" * (len(conditions) - 1)) + _xor(conditions), parameters)
    return Condition(separator.join(f"({condition.sql})" for condition in conditions), parameters)


def _xor(conditions: Sequence[Condition]) -> str:
    first, *rest = (f"({condition.sql})" for condition in conditions)
    return first + "".join(f" <> {sql})" for sql in rest)


def _object(where: Mapping[str, Any], place: Place) -> Condition:
    return joined([_entry(name, value, place) for name, value in where.items()], " AND ")


def _entry(name: str, value: Any, place: Place) -> Condition:
    if name in LOGICAL:
        inner = place.under_not() if name in ("$not", "$nor") else place
        branches = value if isinstance(value, list) else [{key: item} for key, item in value.items()]
        return _logical(name, [_object(branch, inner) for branch in branches])
    if name == "$id":
        return _record_id(value, place)
    return _property(name, value, place)


def _logical(name: str, branches: Sequence[Condition]) -> Condition:
    whole = joined(branches, LOGICAL[name])
    return Condition(f"NOT ({whole.sql})", whole.parameters) if name in ("$not", "$nor") else whole


def _property(name: str, value: Any, place: Place) -> Condition:
    if isinstance(value, dict):
        return _block(name, value, place)
    if isinstance(value, list):
        return Condition(FALSE)
    return _absent(name, place) if value is None else _equal(name, value, place)


def _block(name: str, block: Mapping[str, Any], place: Place) -> Condition:
    """An object under a name: operators on a property, or else conditions on linked records of that label."""
    if block and all(key in LOGICAL for key in block):
        return joined([_nested(name, key, item, place) for key, item in block.items()], " AND ")
    if block and all(key in DATE_PARTS for key in block):
        return _any_of(name, *_moment(block, "=", name, place), place)
    if block and all(key in OPERATORS for key in block):
        return joined([_operator(name, key, item, place) for key, item in block.items()], " AND ")
    return _related(name, block, place)


def _nested(name: str, operator: str, value: Any, place: Place) -> Condition:
    """A logical operator inside a property, as in `{"n": {"$or": [{"$lt": 1}, {"$gt": 3}]}}`."""
    inner = place.under_not() if operator in ("$not", "$nor") else place
    branches = value if isinstance(value, list) else [value]
    return _logical(operator, [_property(name, branch, inner) for branch in branches])


def _operator(name: str, operator: str, value: Any, place: Place) -> Condition:
    if operator in COMPARISONS:
        return _compared(name, operator, value, place)
    if operator in ("$contains", "$startsWith", "$endsWith"):
        return _text(name, operator, value, place)
    if operator in ("$in", "$nin"):
        return _listed(name, operator, value, place)
    if operator in ("$exists", "$type"):
        return _described(name, operator, value, place)
    if operator == "$eq" and not isinstance(value, list):
        return _property(name, value, place)
    return _different(name, value, place)


def _compared(name: str, operator: str, value: Any, place: Place) -> Condition:
    sign = COMPARISONS[operator]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _any_of(name, f"v.type IN ('integer', 'real') AND v.value {sign} ?", (value,), place)
    if isinstance(value, dict) or (isinstance(value, str) and is_datetime(value)):
        return _any_of(name, *_moment(value, sign, name, place), place)
    raise _unusable(operator, value)


def _moment(value: Any, sign: str, name: str, place: Place) -> tuple[str, tuple[Any, ...]]:
    text = value if isinstance(value, str) else _moment_text(value)
    typed = f"json_extract({place.alias}.body, ?) = 'datetime'"
    return f"{typed} AND instant(v.value) {sign} instant(?)", (_type_path(name), text)


def _moment_text(parts: Mapping[str, Any]) -> str:
    year, month, day = (int(parts.get(name, 1)) for name in DATE_PARTS[:3])
    hour, minute, second = (int(parts.get(name, 0)) for name in DATE_PARTS[3:6])
    milli, micro, nano = (int(parts.get(name, 0)) for name in DATE_PARTS[6:])
    fraction = milli * 10**6 + micro * 10**3 + nano
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}.{fraction:09d}Z"


def _text(name: str, operator: str, value: Any, place: Place) -> Condition:
    if not isinstance(value, str):
        raise _unusable(operator, value)
    function = {"$contains": "contains_text", "$startsWith": "starts_with", "$endsWith": "ends_with"}[operator]
    if '"' in value:
        raise database_failure()
    if operator == "$contains":
        check_pattern(value)
    return _any_of(name, f"v.type = 'text' AND {function}(v.value, ?)", (value,), place)


def _listed(name: str, operator: str, value: Any, place: Place) -> Condition:
    if not isinstance(value, list) or not value or len({_kind(item) for item in value}) > 1:
        raise _unusable(operator, value)
    if operator == "$nin":
        inner = _any_of(name, _member_sql(value[0]), (orjson.dumps(value).decode(),), place.under_not())
        return Condition(f"NOT ({inner.sql})", inner.parameters)
    if _is_looked_up(name, value[0], place):
        return _looked_up(name, value, place)
    return _any_of(name, _member_sql(value[0]), (orjson.dumps(value).decode(),), place)


def _member_sql(example: Any) -> str:
    if isinstance(example, bool):
        return "v.type IN (SELECT type FROM json_each(?))"
    kinds = "('text')" if isinstance(example, str) else "('integer', 'real')"
    return f"v.type IN {kinds} AND v.value IN (SELECT value FROM json_each(?))"


def _described(name: str, operator: str, value: Any, place: Place) -> Condition:
    if operator == "$exists":
        if not isinstance(value, bool):
            raise _unusable(operator, value)
        return _present(name, place) if value else _absent(name, place)
    if not isinstance(value, str):
        raise _unusable(operator, value)
    return Condition(f"json_extract({place.alias}.body, ?) = ?", (_type_path(name), value))


def _equal(name: str, value: Any, place: Place) -> Condition:
    if _is_looked_up(name, value, place):
        return _looked_up(name, [value], place)
    return _any_of(name, *_same(value), place)


def _different(name: str, value: Any, place: Place) -> Condition:
    if value is None:
        return _present(name, place)
    if isinstance(value, dict):
        return _any_of(name, *_moment(value, "<>", name, place), place)
    sql, parameters = _same(value)
    return _any_of(name, f"NOT ({sql})", parameters, place)


def _same(value: Any) -> tuple[str, tuple[Any, ...]]:
    if isinstance(value, bool):
        return "v.type = ?", ("true" if value else "false",)
    if isinstance(value, str):
        return "v.type = 'text' AND v.value = ?", (value,)
    return "v.type IN ('integer', 'real') AND v.value = ?", (value,)


def _any_of(name: str, sql: str, parameters: Sequence[Any], place: Place) -> Condition:
    """Whether any element of the property (or the property, if it is no list) fulfils `sql`; NULL without it."""
    path, body = json_path(name), f"{place.alias}.body"
    return Condition(
        f"CASE WHEN json_type({body}, ?) IS NOT NULL "
        f"THEN EXISTS (SELECT 1 FROM json_each({body}, ?) v WHERE {sql}) END",
        (path, path, *parameters),
    )


def _present(name: str, place: Place) -> Condition:
    return Condition(f"json_type({place.alias}.body, ?) IS NOT NULL", (json_path(name),))


def _absent(name: str, place: Place) -> Condition:
    return Condition(f"json_type({place.alias}.body, ?) IS NULL", (json_path(name),))


def _is_looked_up(name: str, example: Any, place: Place) -> bool:
    return isinstance(example, str) and not place.negated and name.startswith(LOOKUP_NAMES)


def _looked_up(name: str, values: Sequence[Any], place: Place) -> Condition:
    return Condition(
        f"{place.alias}.number IN (SELECT record FROM lookup "
        "WHERE project = ? AND name = ? AND value IN (SELECT value FROM json_each(?)))",
        (place.project, name, orjson.dumps(values).decode()),
    )


def _record_id(value: Any, place: Place) -> Condition:
    column = f"{place.alias}.id"
    if isinstance(value, str):
        return Condition(f"{column} = ?", (value,))
    if not isinstance(value, dict):
        return Condition(FALSE)
    return joined([_id_operator(column, operator, item) for operator, item in value.items()], " AND ")


def _id_operator(column: str, operator: str, value: Any) -> Condition:
    if operator in ("$in", "$nin"):
        if not isinstance(value, list) or not value:
            raise _unusable(operator, value)
        word = "IN" if operator == "$in" else "NOT IN"
        return Condition(f"{column} {word} (SELECT value FROM json_each(?))", (orjson.dumps(value).decode(),))
    if operator in ("$eq", "$ne"):
        return Condition(f"{column} {'=' if operator == '$eq' else '<>'} ?", (value,))
    raise _unusable(operator, value)


def _related(label: str, block: Mapping[str, Any], place: Place) -> Condition:
    """A block about linked records of a label: at least one of them fulfils it."""
    parts = _linked(label, block, place)
    return joined([Condition(f"EXISTS (SELECT 1 {part.sql})", part.parameters) for part in parts], " OR ")


def _linked(label: str, block: Mapping[str, Any], place: Place) -> list[Condition]:
    """The linked records that fulfil a block, as what follows SELECT; one for each direction."""
    other = place.related()
    relation = block.get("$relation") or {}
    wanted = {"type": relation} if isinstance(relation, str) else relation
    inner = _object({name: value for name, value in block.items() if name not in ("$relation", "$alias")}, other)
    here, there = f"{place.alias}.number", f"{other.alias}.number"
    ways = {"out": [("source", "target")], "in": [("target", "source")]}.get(
        str(wanted.get("direction", "")).lower(), [("source", "target"), ("target", "source")]
    )
    typed, kinds = ("AND e.type = ? ", (wanted["type"],)) if wanted.get("type") else ("", ())
    return [
        Condition(
            f"FROM edge e JOIN record {other.alias} ON {there} = e.{far} "
            f"WHERE e.{near} = {here} {typed}AND {other.alias}.label = ? AND ({inner.sql})",
            (*kinds, label, *inner.parameters),
        )
        for near, far in ways
    ]


def linked_counts(where: Any, alias: str, project: int) -> list[Condition]:
    """For each block about linked records that all must fulfil: how many of them do, as an expression."""
    counts: list[Condition] = []
    for name, value in (where or {}).items():
        if name == "$and" and isinstance(value, list):
            counts += [count for item in value for count in linked_counts(item, alias, project)]
        elif isinstance(value, dict) and not name.startswith("$") and _is_about_links(value):
            parts = _linked(name, value, Place(alias, project))
            counts.append(
                joined([Condition(f"(SELECT count(*) {part.sql})", part.parameters) for part in parts], " + ")
            )
    return counts


def _is_about_links(block: Mapping[str, Any]) -> bool:
    return not block or not any(all(key in words for key in block) for words in (LOGICAL, DATE_PARTS, OPERATORS))


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, (int, float)) else "string" if isinstance(value, str) else "object"


def _unusable(operator: str, value: Any) -> Refusal:
    shown = orjson.dumps(value).decode()
    return refused(400, f"Value {shown} of type {_kind(value)} couldn't be used with '{operator}' operator.")
