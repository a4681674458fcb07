"""Links between records: joined by equal values, attached by id, counted and removed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from byov_migrate.sandbox import records
from byov_migrate.sandbox.documents import DEFAULT_RELATION
from byov_migrate.sandbox.replies import Refusal, database_failure, empty_failure, invalid_body
from byov_migrate.sandbox.store import Session
from byov_migrate.sandbox.where import Condition, compile_where, joined, json_path

DIRECTIONS = ("in", "out", "IN", "OUT")
MOST_FOUND = 1000
FOUND_INSTEAD = 100  # what a limit above MOST_FOUND silently becomes


@dataclass(frozen=True, slots=True)
class Side:
    """One end of a join: records of a label, by the value of a property."""

    label: str
    key: str | None
    where: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Join:
    """The body of create-many and delete-many."""

    source: Side
    target: Side
    type: str
    outgoing: bool
    properties: Mapping[str, Any]


def read_join(body: Mapping[str, Any]) -> Join:
    """Raises 400 for a side that is none, 500 for a type or a label that Cypher cannot take."""
    many = bool(body.get("manyToMany"))
    wrong = [side for side in ("source", "target") if not _is_side(body.get(side), many=many)]
    if wrong:
        raise invalid_body(", ".join(f'"{side}" does not match any of the allowed types' for side in wrong))
    direction = body.get("direction", "out")
    if direction not in DIRECTIONS:
        raise _wrong_direction(direction)
    return Join(
        source=_read_side(body["source"], many=many),
        target=_read_side(body["target"], many=many),
        type=_read_type(body.get("type")),
        outgoing=direction.lower() == "out",
        properties=body.get("properties") or {},
    )


def link_matching(session: Session, join: Join) -> None:
    """Link every source to every target with an equal value; links that are there stay as they are."""
    pairs = _matching_pairs(session, join)
    link(session, pairs, join.type)
    if join.properties:
        _set_properties(session, pairs, join.type, join.properties)


def unlink_matching(session: Session, join: Join) -> None:
    """Remove the links between sources and targets whose values are equal now."""
    _unlink(session, _matching_pairs(session, join), [join.type])


def attach(session: Session, record_id: str, body: Mapping[str, Any]) -> None:
    """Link one record to others by id, in place of what linked them either way; unknown ids are passed over."""
    pairs, relation = _pairs_by_id(session, record_id, body), _read_type(body.get("type"))
    _unlink(session, pairs, [relation])
    _unlink(session, [(target, source) for source, target in pairs], [relation])
    link(session, pairs, relation)
    if properties := body.get("properties"):
        _set_properties(session, pairs, relation, properties)


def _set_properties(
    session: Session, pairs: Iterable[tuple[int, int]], relation: str, properties: Mapping[str, Any]
) -> None:
    """Beside the properties of other names that a link has."""
    stored = orjson.dumps(properties).decode()
    session.connection.executemany(
        "INSERT INTO edge_property (source, type, target, body) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET body = json_patch(body, excluded.body)",
        ((source, relation, target, stored) for source, target in pairs),
    )


def detach(session: Session, record_id: str, body: Mapping[str, Any]) -> None:
    """Remove links of one record to others by id."""
    types = body.get("typeOrTypes")
    wanted = [types] if isinstance(types, str) else list(types or [DEFAULT_RELATION])
    _unlink(session, _pairs_by_id(session, record_id, body), wanted)


def link(session: Session, pairs: Iterable[tuple[int, int]], relation: str) -> None:
    """Link each pair from its first record to its second; a link that is there stays one."""
    session.connection.executemany(
        "INSERT INTO edge (project, source, type, target) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        ((session.project, source, relation, target) for source, target in pairs),
    )


def find(session: Session, body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """Links of a type (all without one) and their number; filters on records are ignored, as the server does."""
    relation = (body.get("where") or {}).get("type")
    condition = joined(
        [Condition("e.project = ?", (session.project,))]
        + ([Condition("e.type = ?", (relation,))] if relation else []),
        " AND ",
    )  # fmt: skip
    limit = body.get("limit", MOST_FOUND)
    rows = session.connection.execute(
        "SELECT s.id, t.id, s.label, t.label, e.type, p.body FROM edge e "
        "JOIN record s ON s.number = e.source JOIN record t ON t.number = e.target "
        "LEFT JOIN edge_property p ON p.source = e.source AND p.type = e.type AND p.target = e.target "
        f"WHERE {condition.sql} ORDER BY e.source, e.target LIMIT ? OFFSET ?",
        (*condition.parameters, limit if limit <= MOST_FOUND else FOUND_INSTEAD, body.get("skip", 0)),
    )
    total = session.connection.execute(f"SELECT count(*) FROM edge e WHERE {condition.sql}", condition.parameters)
    return [_reply(row) for row in rows], int(total.fetchone()[0])


def _reply(row: Sequence[Any]) -> dict[str, Any]:
    source, target, source_label, target_label, relation, properties = row
    return {
        "sourceId": source,
        "targetId": target,
        "sourceLabel": source_label,
        "targetLabel": target_label,
        "type": relation,
        "properties": orjson.loads(properties) if properties else {},
        "direction": "out",
    }


def _matching_pairs(session: Session, join: Join) -> list[tuple[int, int]]:
    targets: dict[str, list[int]] = {}
    for number, value in _values(session, join.target):
        targets.setdefault(value, []).append(number)
    pairs = [(source, target) for source, value in _values(session, join.source) for target in targets.get(value, ())]
    same_label = join.source.label == join.target.label
    return [
        (source, target) if join.outgoing else (target, source)
        for source, target in pairs
        if not (same_label and source == target)
    ]


def _values(session: Session, side: Side) -> list[tuple[int, str]]:
    """Records of a side with each value of the key as JSON: `1` and `"1"` are two values."""
    condition = compile_where(side.where, "r", session.project)
    path = "$.__id" if side.key is None else json_path(side.key)
    rows = session.connection.execute(
        "SELECT r.number, r.body -> ? FROM record r "
        f"WHERE r.project = ? AND r.label = ? AND json_type(r.body, ?) IS NOT NULL AND {condition.sql}",
        (path, session.project, side.label, path, *condition.parameters),
    )
    if side.key is None:
        return [(number, "") for number, _ in rows]  # many to many: everything joins with everything
    return [(number, element) for number, value in rows for element in _elements(value)]


def _elements(value: str) -> list[str]:
    if not value.startswith("["):
        return [value]
    return [orjson.dumps(element).decode() for element in orjson.loads(value)]


def _pairs_by_id(session: Session, record_id: str, body: Mapping[str, Any]) -> list[tuple[int, int]]:
    raw = body.get("targetIds")
    if not isinstance(raw, (str, list)):
        raise invalid_body('"targetIds" does not match any of the allowed types')
    direction = body.get("direction", "out")
    if direction not in DIRECTIONS:
        raise _wrong_direction(direction)
    ids = [raw] if isinstance(raw, str) else raw
    found = records.numbers_of(session, [record_id, *ids])
    if record_id not in found:
        return []
    one = found[record_id][0]
    others = [found[target][0] for target in ids if target in found]
    return [(one, other) if direction.lower() == "out" else (other, one) for other in others]


def _unlink(session: Session, pairs: Iterable[tuple[int, int]], types: Sequence[str]) -> None:
    session.connection.executemany(
        "DELETE FROM edge WHERE source = ? AND target = ? AND type = ?",
        [(source, target, relation) for source, target in pairs for relation in types],
    )


def _is_side(side: Any, *, many: bool) -> bool:
    if not isinstance(side, dict) or not side.get("label"):
        return False
    return bool(side.get("where")) if many and not side.get("key") else bool(side.get("key"))


def _read_side(side: Mapping[str, Any], *, many: bool) -> Side:
    label, key = _plain(side["label"]), side.get("key")
    if not label:
        raise database_failure()
    return Side(label, None if many and not key else _plain(str(key)), side.get("where") or {})


def _plain(name: str) -> str:
    """Names are reduced to ASCII before they are joined, so that others silently meet nothing."""
    return re.sub(r"[^A-Za-z0-9_-]", "", re.sub(r"\s+", "_", name))


def _read_type(relation: Any) -> str:
    if relation is None:
        return DEFAULT_RELATION
    if not isinstance(relation, str) or not relation.isidentifier():
        raise empty_failure()
    return relation


def _wrong_direction(direction: Any) -> Refusal:
    return invalid_body(
        f"\"direction\" Invalid enum value. Expected 'in' | 'out' | 'IN' | 'OUT', received '{direction}'"
    )
