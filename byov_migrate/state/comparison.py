"""Both sides of a table in one SQLite file, compared by SQL: neither Python's memory nor anybody's order.

    rows as hashes, marks and expected scores  ──┐
                                                 ├──►  differences, each with whether the next sync takes care of it
    records as hashes, marks and scores        ──┘

The file lies beside the state and says how far both sides were read, so that a killed comparison goes on. A few keys
are compared again in a file that vanishes. The state itself is attached and only read.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from byov_migrate.digests import SCORE_TOLERANCE
from byov_migrate.errors import MigrationError, Unavailable
from byov_migrate.records import KeyText
from byov_migrate.state import comparison_queries as queries
from byov_migrate.state.comparison_items import KINDS, UNSAID, Difference, Kind, Scored, Side, SourceRow, TargetRecord

__all__ = [
    "KINDS",
    "UNSAID",
    "Comparison",
    "Difference",
    "Kind",
    "Scored",
    "Side",
    "SourceRow",
    "TableComparison",
    "TargetRecord",
    "remove_scratch",
    "translated",
]

FORMAT = 2
"""Of the scratch file; one of another format is of no use."""
VALID_S = 24 * 3600
CACHE_KIB = 32 * 1024
ROWS_A_STATEMENT = 1000
_UNSCORED = (None, None, None)


class Comparison:
    """The scratch file. `at` binds it to one table."""

    def __init__(self, connection: sqlite3.Connection, state: Path) -> None:
        self.connection = connection
        connection.execute("ATTACH ? AS state", (f"{state.resolve()}",))

    @classmethod
    def opened(cls, path: Path, state: Path, identity: str, now: float, *, restart: bool = False) -> Comparison:
        """The scratch file at `path`: the one that is there, when it is of this identity and not a day old.

        now: seconds since 1970. Raise Unavailable while another process holds it.
        """
        if restart:
            remove_scratch(path)
        with translated(path):
            identity = f"{FORMAT} {identity}"
            connection = _connection(path)
            if _fact(connection, "identity") not in (None, identity) or not _is_fresh(connection, now):
                connection.close()
                remove_scratch(path)
                connection = _connection(path)
            known = [("identity", identity), ("began", str(now))]
            connection.executemany("INSERT OR IGNORE INTO fact VALUES (?, ?)", known)
            return cls(connection, state)

    @classmethod
    def passing(cls, state: Path) -> Comparison:
        """A comparison in a file that vanishes when it is closed."""
        connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        connection.executescript(queries.TABLES)
        return cls(connection, state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    @property
    def began(self) -> float:
        """When it was begun, seconds since 1970."""
        return float(_fact(self.connection, "began") or 0.0)

    def index_ids(self) -> None:
        """Links name their ends by the ids of records; nothing else asks for these."""
        self.connection.execute(queries.INDEX_IDS)

    def at(self, number: int, table: str, properties: Sequence[str]) -> TableComparison:
        """One table: its number, its name in the state, the embeddings' properties in order."""
        return TableComparison(self.connection, number, table, tuple(properties))


class TableComparison:
    """What the scratch file holds of one table. Both sides may be added to by a thread each."""

    def __init__(self, connection: sqlite3.Connection, number: int, table: str, properties: tuple[str, ...]) -> None:
        self._connection = connection
        self._number = number
        self._properties = properties
        self._bound = {"t": number, "name": table, "tolerance": SCORE_TOLERANCE}
        self._lock = threading.RLock()
        self._last: int | None = None

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """All that is added inside is there, or nothing of it; nobody else adds anything meanwhile."""
        with self._lock:
            self._connection.execute("BEGIN")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def position(self) -> tuple[KeyText | None, bool]:
        """How far the source was read, and whether to its end."""
        found = self._one("SELECT value FROM progress WHERE t = :t AND part = 'source'")
        if found is None:
            return None, False
        upto, done = orjson.loads(found)
        return (None if upto is None else tuple(upto)), bool(done)

    def slices_read(self) -> set[str]:
        """Values of `byovSlice` whose records were read, "" for records without a slice of ours."""
        query = "SELECT value FROM progress WHERE t = :t AND part = 'target'"
        with self._lock:
            return {row[0] for row in self._connection.execute(query, self._bound)}

    def mark_source(self, upto: KeyText | None, *, done: bool) -> None:
        """The source was read so far."""
        self._connection.execute("DELETE FROM progress WHERE t = :t AND part = 'source'", self._bound)
        self._mark("source", [orjson.dumps([upto, done]).decode()])

    def mark_target(self, slices: Iterable[str]) -> None:
        """The records of these slices were read."""
        self._mark("target", slices)

    def _mark(self, part: str, values: Iterable[str]) -> None:
        rows = [(self._number, part, value) for value in values]
        self._connection.executemany("INSERT OR REPLACE INTO progress VALUES (?, ?, ?)", rows)

    def add_rows(self, rows: Sequence[SourceRow]) -> None:
        """Rows in the source's key order; one that is there already is replaced."""
        if self._last is None:
            self._last = int(self._one(queries.LAST_NUMBER))
        self._put("source_row", (self._plain_row(n, row) for n, row in enumerate(rows, self._last + 1)))
        self._last += len(rows)
        self._put("source_content", chain.from_iterable(map(self._row_sides, rows)))

    def _plain_row(self, number: int, row: SourceRow) -> tuple[Any, ...]:
        return self._number, row.key, number, row.slice, row.hash, row.reject, orjson.dumps(row.position)

    def _row_sides(self, row: SourceRow) -> Iterator[tuple[Any, ...]]:
        for name, side in zip(self._properties, row.sides, strict=True):
            yield self._number, row.key, name, side.mark, side.carriers, *(side.scores or _UNSCORED)

    def add_records(self, records: Iterable[TargetRecord]) -> None:
        """Records, best in order of their keys; one that is there already is replaced."""
        rest = iter(records)
        while some := list(islice(rest, ROWS_A_STATEMENT)):
            self._put("target_record", map(self._plain_record, some))
            self._put("target_content", chain.from_iterable(map(self._record_sides, some)))

    def _plain_record(self, record: TargetRecord) -> tuple[Any, ...]:
        where = (self._number, record.key, record.record_id, record.slice)
        return *where, record.stored, record.computed, record.batch, _names(record.odd), _names(record.unknown)

    def _record_sides(self, record: TargetRecord) -> Iterator[tuple[Any, ...]]:
        for name, side in zip(self._properties, record.sides, strict=True):
            where = (self._number, record.key, record.record_id, name)
            yield *where, side.mark, side.carriers, _names(side.spoken), side.sent

    def add_scores(self, property_name: str, scores: Iterable[Scored]) -> None:
        """What searches with the probes found, in the order of `add_records`; scores of no record do no harm."""
        number = self._number
        self._put("target_score", ((number, key, record_id, property_name, *found) for key, record_id, found in scores))

    def _put(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Many rows a statement: SQLite lets other threads go on while it works, and waits for them after each."""
        most = self._connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // queries.WIDTHS[table]
        rest = iter(rows)
        while some := list(islice(rest, min(most, ROWS_A_STATEMENT))):
            self._connection.execute(queries.put(table, len(some)), tuple(chain.from_iterable(some)))

    def count_rows(self) -> int:
        """Rows of the source so far, rejected ones included."""
        return int(self._one("SELECT count(*) FROM source_row WHERE t = :t"))

    def count_records(self) -> int:
        """Records of the target so far."""
        return int(self._one("SELECT count(*) FROM target_record WHERE t = :t"))

    def count_marks(self) -> int:
        """Vectors that there should be."""
        return int(self._one("SELECT count(*) FROM source_content WHERE t = :t AND mark IS NOT NULL"))

    def sample(self, count: int) -> list[tuple[str, KeyText]]:
        """Key and position of rows that nobody chose: those with the lowest hashes."""
        rows = self._connection.execute(queries.SAMPLE, {**self._bound, "count": count})
        return [(row[0], tuple(orjson.loads(row[1]))) for row in rows]

    def positions(self, keys: Sequence[str]) -> dict[str, tuple[int, KeyText]]:
        """Key -> its number in the source's key order, and its position; keys that the source lacked are absent."""
        found = {}
        query = "SELECT n, position FROM source_row WHERE t = ? AND key = ?"
        for key in keys:
            for number, position in self._connection.execute(query, (self._number, key)):
                found[key] = (int(number), tuple(orjson.loads(position)))
        return found

    def differences(
        self,
        kinds: Collection[Kind],
        *,
        changed: Iterable[str] | None = None,
        slices: Iterable[str] | None = None,
    ) -> Iterator[Difference]:
        """All that differs, of these kinds.

        changed: keys that the next sync would look at, None when it could not see changes. slices: compare these only.
        """
        with contextlib.closing(self._prepared(changed, slices, {"vectors": "vectors" in kinds})):
            bound = {**self._bound, "sees": changed is not None}
            for kind, query, told in queries.DIFFERENCES:
                if kind in kinds:
                    for key, behind, *found in self._connection.execute(query, bound):
                        yield Difference(kind, key, told(*found), bool(behind))

    def _prepared(
        self, changed: Iterable[str] | None, slices: Iterable[str] | None, asked: Mapping[str, bool]
    ) -> _Prepared:
        prepared = _Prepared(self._connection)
        self._connection.executescript(queries.PREPARE)
        self._connection.executemany("INSERT OR IGNORE INTO changed VALUES (?)", ((key,) for key in changed or ()))
        if slices is None:
            self._connection.execute(queries.CHOOSE_EVERY_SLICE)
        else:
            self._connection.executemany("INSERT OR IGNORE INTO chosen VALUES (?)", ((name,) for name in slices))
        for choose in queries.CHOOSE:
            self._connection.execute(choose, {**self._bound, **asked})
        return prepared

    def evidence(self, key: str) -> str:
        """All that was read of a key, on both sides: the same twice in a row is no passing state."""
        bound = {**self._bound, "key": key}
        found = [self._connection.execute(query, bound).fetchall() for query in queries.EVIDENCE]
        return repr(found)

    def _one(self, query: str, parameters: Mapping[str, Any] | None = None) -> Any:
        with self._lock:
            row = self._connection.execute(query, parameters or self._bound).fetchone()
        return row[0] if row else None


@dataclass(frozen=True)
class _Prepared:
    connection: sqlite3.Connection

    def close(self) -> None:
        """Drop what a comparison was prepared with."""
        self.connection.executescript(queries.CLEAR)


def remove_scratch(path: Path) -> None:
    """Remove a scratch file and what SQLite may have left beside it."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's failures about the scratch file into ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        name = str(getattr(error, "sqlite_errorname", None) or type(error).__name__)
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise Unavailable(f"another verify is at work on {path.name}") from error
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            raise Unavailable(
                f"the disk under {path.name} is full or failing; free space, the next run goes on"
            ) from error
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise Unavailable(f"{path.name} is damaged; to start over: byov-migrate verify --restart") from error
        raise MigrationError(f"{path.name} failed: {name}") from error


def _connection(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1)
    # A loss of power costs the file, and a new one is made; a kill costs one transaction.
    for pragma in ("main.locking_mode=EXCLUSIVE", "main.synchronous=OFF", f"main.cache_size=-{CACHE_KIB}"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("COMMIT")
    connection.executescript(queries.TABLES)
    return connection


def _fact(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else None


def _is_fresh(connection: sqlite3.Connection, now: float) -> bool:
    began = _fact(connection, "began")
    return began is None or 0 <= now - float(began) < VALID_S


def _names(names: Sequence[str]) -> str | None:
    return ", ".join(names) or None
