"""Uniqueness constraints, as an operator makes them in Neo4j below a RushDB."""

from __future__ import annotations

import orjson

from byov_migrate.sandbox.replies import refused
from byov_migrate.sandbox.store import Session


def create(session: Session, label: str, name: str) -> None:
    """Make a property unique among all records of a label, in all projects. Raises 409 when it is not."""
    session.connection.execute("INSERT INTO uniqueness VALUES (?, ?) ON CONFLICT DO NOTHING", (label, name))
    seen: set[str] = set()
    for number, body in session.connection.execute("SELECT number, body FROM record WHERE label = ?", (label,)):
        value = orjson.loads(body).get(name)
        if value is None:
            continue
        text = orjson.dumps(value).decode()
        if text in seen:
            raise refused(409, f"Records of label {label} share a value of {name}; the constraint was not made")
        seen.add(text)
        session.connection.execute(
            "INSERT INTO unique_value VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (label, name, text, number)
        )


def drop(session: Session, label: str, name: str) -> None:
    """Take a constraint away; nothing happens where there is none."""
    session.connection.execute("DELETE FROM uniqueness WHERE label = ? AND property = ?", (label, name))
    session.connection.execute("DELETE FROM unique_value WHERE label = ? AND property = ?", (label, name))
