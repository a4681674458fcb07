"""Runs and their events: who did what when, kept in the state."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert, select, update

from byov_migrate.state import schema
from byov_migrate.state.store import Store, fact, replacing


class Runs:
    """The history of a state."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def state_id(self) -> str:
        """The UUID this state was born with; the marker in the target names it."""
        with self._store.reading() as connection:
            return str(connection.execute(fact("state_id")).scalar_one())

    @property
    def generation(self) -> int:
        """1 at birth, one more each time the state is restored; a copy with a lower one only reads."""
        with self._store.reading() as connection:
            return int(connection.execute(fact("generation")).scalar_one_or_none() or 1)

    def begin_run(self, command: str) -> str:
        """Make this process the one that may write, and return the run's id."""
        run, now = uuid.uuid4().hex, self._store.clock()
        self._store.run = None
        with self._store.writing() as connection:
            connection.execute(replacing(schema.meta).values(name="current_run", value=run))
            started = {"id": run, "command": command, "started_at": now, "progress_at": now}
            connection.execute(insert(schema.run).values(**started))
        self._store.run = run
        return run

    def end_run(self, exit_code: int, summary: Mapping[str, Any]) -> None:
        """Close the run's row with its exit code and summary."""
        ended = {"ended_at": self._store.clock(), "exit_code": exit_code, "summary": dict(summary)}
        with self._store.writing() as connection:
            connection.execute(update(schema.run).where(schema.run.c.id == self._store.run).values(**ended))

    def note(self, action: str, **fields: Any) -> None:
        """Keep an event of this run; numbers and names only."""
        row = {"run": self._store.run or "", "at": self._store.clock(), "action": action, "fields": fields}
        with self._store.writing() as connection:
            connection.execute(insert(schema.event).values(**row))

    def last(self, limit: int) -> list[dict[str, Any]]:
        """The last runs, newest first."""
        return self._store.rows(select(schema.run).order_by(schema.run.c.started_at.desc()).limit(limit))

    def events(self, run: str) -> list[dict[str, Any]]:
        """A run's events in order; `run` may be the beginning of its id."""
        query = select(schema.event).where(schema.event.c.run.startswith(run, autoescape=True))
        return self._store.rows(query.order_by(schema.event.c.id))
