"""The last report of each command that proves something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from byov_migrate.state import schema
from byov_migrate.state.store import Store, replacing


class Reports:
    """One row a command. Written by jobs that hold no run lock: it is theirs alone."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, command: str, content: Mapping[str, Any]) -> None:
        """Put a report in place of the last one."""
        row = {"command": command, "at": self._store.clock(), "content": dict(content)}
        with self._store.writing() as connection:
            connection.execute(replacing(schema.report).values(**row))

    def last(self, command: str) -> dict[str, Any] | None:
        """The last report, None before the first."""
        rows = self._store.rows(select(schema.report).where(schema.report.c.command == command))
        return dict(rows[0]["content"]) if rows else None
