"""`/records/search`: pages of records, counts, and grouped aggregates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from byov_migrate.sandbox.records import Stored, stored_from
from byov_migrate.sandbox.replies import Refusal, database_failure, invalid_body, refused
from byov_migrate.sandbox.store import Session
from byov_migrate.sandbox.values import as_number
from byov_migrate.sandbox.where import Condition, compile_where, joined, json_path

DIRECTIONS = {"asc": "ASC", "desc": "DESC"}
AGGREGATES = ("$count", "$sum", "$avg", "$min", "$max")
RECORD_COLUMNS = "r.number, r.id, r.label, r.body, r.hidden"


@dataclass(frozen=True, slots=True)
class Query:
    """A validated search."""

    labels: tuple[str, ...]
    where: Mapping[str, Any]
    order: Any
    skip: int
    limit: int
    select: Mapping[str, Any]
    group_by: tuple[str, ...]
    linked_to: int | None = None  # only records one link away from this one


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a grouped reply: SQL over the grouped records and how to read it back."""

    name: str
    sql: str
    parameters: tuple[Any, ...]
    aggregate: bool


def read_query(body: Any, *, linked_to: int | None = None) -> Query:
    """Validate a search body. Raises 400 with the server's words."""
    if not isinstance(body, dict):
        raise invalid_body(f"value Expected object, received {_json_type(body)}")
    labels = body.get("labels")
    if labels is not None and not isinstance(labels, list):
        raise invalid_body(f'"labels" Expected array, received {_json_type(labels)}')
    return Query(
        labels=tuple(labels or ()),
        where=body.get("where") or {},
        order=_read_order(body.get("orderBy", "desc")),
        skip=_read_count(body, "skip", 0, 0, None),
        limit=_read_count(body, "limit", 100, 1, 1000),
        select=_read_select(body.get("select") or {}),
        group_by=tuple(body.get("groupBy") or ()),
        linked_to=linked_to,
    )


def matching(session: Session, query: Query) -> Condition:
    """The condition on `record r` that a query's labels and `where` amount to."""
    parts = [Condition("r.project = ?", (session.project,))]
    if query.labels:
        marks = ", ".join("?" * len(query.labels))
        parts.append(Condition(f"r.label IN ({marks})", query.labels))
    if query.linked_to is not None:
        parts.append(
            Condition(
                "r.number IN (SELECT target FROM edge WHERE source = ? UNION SELECT source FROM edge WHERE target = ?)",
                (query.linked_to, query.linked_to),
            )
        )
    return joined([*parts, compile_where(query.where, "r", session.project)], " AND ")


def numbers_matching(session: Session, query: Query) -> list[int]:
    """Numbers of all records that match, oldest first; skip and limit are ignored."""
    condition = matching(session, query)
    rows = session.connection.execute(
        f"SELECT r.number FROM record r WHERE {condition.sql} ORDER BY r.number", condition.parameters
    )
    return [row[0] for row in rows]


def count(session: Session, query: Query) -> int:
    """How many records match, whatever the page."""
    condition = matching(session, query)
    row = session.connection.execute(f"SELECT count(*) FROM record r WHERE {condition.sql}", condition.parameters)
    return int(row.fetchone()[0])


def find(session: Session, query: Query) -> list[Any]:
    """One page of what a query asks for: records, or groups."""
    if query.group_by and query.select:
        return _groups(session, query)
    records = _page(session, query)
    if not query.select:
        return [stored.reply() for stored in records]
    return [orjson.loads(stored.body) | _selected(stored, query.select) for stored in records]


def _page(session: Session, query: Query) -> Iterator[Stored]:
    condition, order = matching(session, query), _order_of_records(query.order)
    rows = session.connection.execute(
        f"SELECT {RECORD_COLUMNS} FROM record r WHERE {condition.sql} ORDER BY {order.sql} LIMIT ? OFFSET ?",
        (*condition.parameters, *order.parameters, query.limit, query.skip),
    )
    return map(stored_from, rows)


def _order_of_records(order: Any) -> Condition:
    if isinstance(order, str):
        return Condition(f"r.id {DIRECTIONS[order]}")
    terms = [_order_term(name, DIRECTIONS[direction]) for name, direction in order.items()]
    sql = ", ".join([*(term.sql for term in terms), "r.id DESC"])
    return Condition(sql, tuple(value for term in terms for value in term.parameters))


def _order_term(name: str, direction: str) -> Condition:
    if name == "__id":
        return Condition(f"r.id {direction}")
    path = json_path(name)
    # lists, texts, booleans, numbers, nothing: the order of Neo4j, where null is the greatest
    rank = (
        "CASE json_type(r.body, ?) WHEN 'array' THEN 0 WHEN 'text' THEN 1 WHEN 'true' THEN 2 WHEN 'false' THEN 2 "
        "WHEN 'integer' THEN 3 WHEN 'real' THEN 3 ELSE 4 END"
    )
    return Condition(f"{rank} {direction}, json_extract(r.body, ?) {direction}", (path, path))


def _selected(stored: Stored, select: Mapping[str, Any]) -> dict[str, Any]:
    """Select keys of one record on its own: an aggregate sees nothing else."""
    properties = stored.content().properties
    values: dict[str, Any] = {}
    for key, expression in select.items():
        operator, field = _expression(expression)
        value = 1 if field is None else properties.get(field)
        values[key] = (0 if value is None else 1) if operator == "$count" else value
    return {key: value for key, value in values.items() if value is not None}


def _groups(session: Session, query: Query) -> list[Any]:
    """Groups over one page of records; over all of them only when the order asks for an aggregate."""
    columns = _columns(query)
    over_all = isinstance(query.order, dict) and any(
        column.aggregate and column.name in query.order for column in columns
    )
    source = _grouped_records(session, query, over_all=over_all)
    selected = ", ".join(f"{column.sql} AS c{position}" for position, column in enumerate(columns))
    keys = [f"c{position}" for position, column in enumerate(columns) if not column.aggregate]
    rows = session.connection.execute(
        f"SELECT {selected}, max(g.id) AS newest FROM ({source.sql}) g {'GROUP BY ' if keys else ''}{', '.join(keys)} "
        f"ORDER BY {_order_of_groups(query.order, columns)} LIMIT ? OFFSET ?",
        [
            *(value for column in columns for value in column.parameters),
            *source.parameters,
            *((query.limit, query.skip) if over_all else (-1, 0)),
        ],
    )
    return [_group(row, columns) for row in rows]


def _grouped_records(session: Session, query: Query, *, over_all: bool) -> Condition:
    condition = matching(session, query)
    records = f"SELECT r.body, r.id FROM record r WHERE {condition.sql}"
    if over_all:
        return Condition(records, condition.parameters)
    order = _order_of_records(query.order)
    return Condition(
        f"{records} ORDER BY {order.sql} LIMIT ? OFFSET ?",
        (*condition.parameters, *order.parameters, query.limit, query.skip),
    )


def _columns(query: Query) -> list[Column]:
    columns = []
    for reference in query.group_by:
        if reference.startswith("$record.") and len(reference) > len("$record."):
            name = reference.removeprefix("$record.")
            columns.append(Column(name, "g.body -> ?", (json_path(name),), aggregate=False))
        elif reference not in query.select:
            raise refused(
                400,
                f'groupBy field reference "{reference}" must include a property name or reference a select key.',
            )
    aggregates = {key: value for key, value in query.select.items() if isinstance(value, dict)}
    if any(reference in query.select.keys() - aggregates.keys() for reference in query.group_by):
        raise database_failure()  # a plain property under another name cannot be grouped by, and is left out otherwise
    return columns + [_column(key, expression) for key, expression in aggregates.items()]


def _column(key: str, expression: Any) -> Column:
    operator, field = _expression(expression)
    if field is None:
        return Column(key, "count(*)", (), aggregate=True)
    path = json_path(field)
    value, kind = "json_extract(g.body, ?)", "json_type(g.body, ?)"
    number = f"CASE WHEN {kind} IN ('integer', 'real') THEN {value} END"
    text = f"CASE WHEN {kind} = 'text' THEN {value} END"
    both = (path, path)
    return {
        "$count": Column(key, f"count(DISTINCT {value})", (path,), aggregate=True),
        "$sum": Column(key, f"coalesce(sum({number}), 0)", both, aggregate=True),
        "$avg": Column(key, f"avg({number})", both, aggregate=True),
        "$min": Column(key, f"coalesce(min({text}), min({number}))", both + both, aggregate=True),
        "$max": Column(key, f"coalesce(max({number}), max({text}))", both + both, aggregate=True),
    }[str(operator)]


def _order_of_groups(order: Any, columns: Sequence[Column]) -> str:
    places = {column.name: f"c{position}" for position, column in enumerate(columns)}
    if not isinstance(order, dict):
        return f"newest {DIRECTIONS[order]}"
    terms = []
    for name, direction in order.items():
        if name in places:
            terms += [f"{term} {DIRECTIONS[direction]}" for term in _rising(places[name])]
    return ", ".join([*terms, "newest DESC"])


def _rising(column: str) -> tuple[str, str]:
    """Texts before numbers before nothing: the order of Neo4j."""
    return f"CASE typeof({column}) WHEN 'text' THEN 0 WHEN 'null' THEN 2 ELSE 1 END", column


def _group(row: Sequence[Any], columns: Sequence[Column]) -> dict[str, Any]:
    group: dict[str, Any] = {}
    for column, value in zip(columns, row, strict=False):
        if value is not None:
            group[column.name] = _aggregated(value) if column.aggregate else orjson.Fragment(value)
    return group


def _aggregated(value: Any) -> Any:
    return as_number(value) if isinstance(value, (int, float)) else value


def _expression(expression: Any) -> tuple[str | None, str | None]:
    """Aggregate (None for a plain reference) and the property it is over (None for all records)."""
    if isinstance(expression, str):
        return None, expression.removeprefix("$record.")
    operator, operand = next(iter(expression.items()))
    return operator, None if operand == "*" else str(operand).removeprefix("$record.")


def _read_select(select: Any) -> Mapping[str, Any]:
    for key, expression in select.items():
        known = isinstance(expression, str) or (
            isinstance(expression, dict) and next(iter(expression), None) in AGGREGATES
        )
        if not known:
            raise invalid_body(f'"select.{key}" does not match any of the allowed types')
    return dict(select)


def _read_order(order: Any) -> Any:
    directions = order.values() if isinstance(order, dict) else [order]
    if not all(isinstance(direction, str) and direction in DIRECTIONS for direction in directions):
        raise _invalid_order()
    return order or "desc"


def _invalid_order() -> Refusal:
    return invalid_body('"orderBy" does not match any of the allowed types')


def _read_count(body: Mapping[str, Any], name: str, default: int, least: int, most: int | None) -> int:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise invalid_body(f'"{name}" Expected number, received {_json_type(value)}')
    if value < least:
        raise invalid_body(f'"{name}" Number must be greater than or equal to {least}')
    if most is not None and value > most:
        raise invalid_body(f'"{name}" Number must be less than or equal to {most}')
    return int(value)


def _json_type(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "boolean", str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "number")
