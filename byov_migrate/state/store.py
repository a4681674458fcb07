"""Transactions on the state: one writer, every write under the fence of its run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Select, Table, insert, select
from sqlalchemy.sql.dml import Insert

from byov_migrate.errors import Unavailable
from byov_migrate.state import schema
from byov_migrate.state.database import open_database, translated_errors

T = TypeVar("T")
KEYS_A_QUERY = 500  # below SQLite's limit on variables, whatever it was built with


class Store:
    """The open state file. `clock` gives seconds since 1970, to be written down, never to measure a wait.

    `run` is the run this process writes for. A process that lost the lock and woke up again finds another run in
    `meta` and changes nothing.
    """

    def __init__(self, engine: Engine, path: Path, clock: Callable[[], float]) -> None:
        self._engine = engine
        self.path = path
        self.clock = clock
        self.run: str | None = None

    @classmethod
    def open(cls, path: Path, clock: Callable[[], float], *, create: bool) -> Store:
        """Open the state at `path`; see `open_database` for what is refused."""
        return cls(open_database(path, create=create), path, clock)

    def close(self) -> None:
        """Give the file back."""
        self._engine.dispose()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view of the state."""
        with translated_errors(self.path), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, begun only when no other writer is in one."""
        with translated_errors(self.path), self._engine.connect() as connection:
            writer = connection.execution_options(writes=True)
            with writer.begin():
                self._fence(writer)
                yield writer

    def _fence(self, connection: Connection) -> None:
        if self.run is None:
            return
        current = connection.execute(fact("current_run")).scalar_one_or_none()
        if current != self.run:
            raise Unavailable("another run has taken over this state; this one stops without changing it")

    def rows(self, query: Select[Any]) -> list[dict[str, Any]]:
        """The rows a query answers, as dictionaries."""
        with self.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]


def portions(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Lists of at most so many items, in their order."""
    rest = iter(items)
    while some := list(islice(rest, most)):
        yield some


def fact(name: str) -> Select[str]:
    """The query for one single fact of the state."""
    return select(schema.meta.c.value).where(schema.meta.c.name == name)


def replacing(table: Table) -> Insert:
    """INSERT that replaces the row of the same primary key."""
    return insert(table).prefix_with("OR REPLACE")
