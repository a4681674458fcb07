"""Key sets of any size, compared by SQLite in a file that vanishes: neither Python's memory nor anybody's order.

with KeySets(state) as sets:
    sets.add(...)            keys of the source, each with its position
    sets.missing(table)      in the source, neither in the ledger nor among the rejects
    sets.unfounded(table)      in the ledger, not in the source
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from byov_migrate.records import KeyText
from byov_migrate.state.database import translated_errors

ROWS_A_STATEMENT = 5000

_MAKE = "CREATE TABLE source_key (key TEXT PRIMARY KEY, position BLOB NOT NULL) WITHOUT ROWID"
_MISSING = """
SELECT position FROM source_key
 WHERE key NOT IN (SELECT key FROM state.ledger WHERE table_name = ?)
   AND key NOT IN (SELECT key FROM state.reject WHERE table_name = ?)
"""
_UNFOUNDED = "SELECT key FROM state.ledger WHERE table_name = ? AND key NOT IN (SELECT key FROM source_key)"


class KeySets:
    """The keys of one table's source, in a temporary database beside the state, which is only read."""

    def __init__(self, state: Path) -> None:
        self._path = state
        with translated_errors(state):
            self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            self._connection.execute("ATTACH ? AS state", (f"{state.resolve()}",))
            self._connection.execute(_MAKE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def add(self, keys: Iterable[tuple[str, KeyText]]) -> int:
        """Add `byovKey` and position of each; return how many there were. A key twice counts once."""
        added, rest = 0, iter(keys)
        with translated_errors(self._path):
            while some := [(key, orjson.dumps(position)) for key, position in islice(rest, ROWS_A_STATEMENT)]:
                self._connection.execute("BEGIN")
                self._connection.executemany("INSERT OR REPLACE INTO source_key VALUES (?, ?)", some)
                self._connection.execute("COMMIT")
                added += len(some)
        return added

    def count(self) -> int:
        """How many keys there are."""
        return int(self._connection.execute("SELECT count(*) FROM source_key").fetchone()[0])

    def positions(self) -> Iterator[KeyText]:
        """The position of every key."""
        return self._positions("SELECT position FROM source_key", ())

    def known(self, table: str) -> int:
        """How many of the keys have a record."""
        query = "SELECT count(*) FROM source_key WHERE key IN (SELECT key FROM state.ledger WHERE table_name = ?)"
        return int(self._connection.execute(query, (table,)).fetchone()[0])

    def missing(self, table: str) -> Iterator[KeyText]:
        """Positions of the rows that the state knows nothing of."""
        return self._positions(_MISSING, (table, table))

    def unfounded(self, table: str) -> Iterator[str]:
        """Keys of records whose rows are not there."""
        return (row[0] for row in self._rows(_UNFOUNDED, (table,)))

    def _positions(self, query: str, parameters: tuple[str, ...]) -> Iterator[KeyText]:
        return (tuple(orjson.loads(row[0])) for row in self._rows(query, parameters))

    def _rows(self, query: str, parameters: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
        with translated_errors(self._path), closing(self._connection.execute(query, parameters)) as cursor:
            yield from cursor
