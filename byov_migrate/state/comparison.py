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
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import orjson

from byov_migrate.digests import SCORE_TOLERANCE
from byov_migrate.errors import MigrationError, Unavailable
from byov_migrate.records import KeyText, Scores
from byov_migrate.state import comparison_queries as queries

VALID_S = 24 * 3600
CACHE_KIB = 32 * 1024
ROWS_A_STATEMENT = 1000
_UNSCORED = (None, None, None)

Kind: TypeAlias = Literal["missing", "extra", "doubled", "values", "vectors", "links", "text"]
KINDS: tuple[Kind, ...] = ("missing", "extra", "doubled", "values", "vectors", "links", "text")


@dataclass(frozen=True, slots=True)
class Side:
    """A row's or a record's share in one embedding.

    mark: `byovText_P`, None without text. scores: against the probes, None where they are not known from this side.
    carriers, of records: whether the properties that carry the vector are all there (1), none (0), or some (2).
    spoken: names of carriers that hold a text although it is withheld. sent: the mark of a text that is sent.
    """

    mark: str | None
    scores: Scores | None = None
    carriers: int = 0
    spoken: tuple[str, ...] = ()
    sent: str | None = None


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row: `hash` of what leaves of it, `reject` the code when it cannot be sent; a side an embedding."""

    key: str
    slice: str
    position: KeyText
    hash: str
    reject: str | None
    sides: tuple[Side, ...]


@dataclass(frozen=True, slots=True)
class TargetRecord:
    """One record. stored: its `byovHash`. computed: the hash of what it holds. odd: properties of ours that are off.

    unknown: names that nobody wrote and nobody allowed.
    """

    record_id: str
    key: str
    slice: str
    stored: str | None
    computed: str
    batch: str | None
    odd: tuple[str, ...]
    unknown: tuple[str, ...]
    sides: tuple[Side, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. `what` names properties, never values. is_behind: the next sync takes care of it."""

    kind: Kind
    key: str
    what: str
    is_behind: bool = False


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

    def at(self, number: int, table: str, properties: Sequence[str]) -> TableComparison:
        """One table: its number, its name in the state, the embeddings' properties in order."""
        return TableComparison(self.connection, number, table, tuple(properties))


class TableComparison:
    """What the scratch file holds of one table."""

    def __init__(self, connection: sqlite3.Connection, number: int, table: str, properties: tuple[str, ...]) -> None:
        self._connection = connection
        self._number = number
        self._properties = properties
        self._bound = {"t": number, "name": table, "tolerance": SCORE_TOLERANCE}

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """All that is added inside is there, or nothing of it."""
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

    def add_rows(self, rows: Iterable[SourceRow]) -> None:
        """Rows in the source's key order; one that is there already is replaced."""
        rest, execute = iter(rows), self._connection.executemany
        while some := list(islice(rest, ROWS_A_STATEMENT)):
            execute(queries.ADD_ROW, map(self._plain_row, some))
            execute(queries.ADD_ROW_CONTENT, (side for row in some for side in self._row_sides(row)))

    def _plain_row(self, row: SourceRow) -> tuple[Any, ...]:
        return self._number, row.key, row.slice, row.hash, row.reject, orjson.dumps(row.position)

    def _row_sides(self, row: SourceRow) -> Iterator[tuple[Any, ...]]:
        for name, side in zip(self._properties, row.sides, strict=True):
            yield self._number, row.key, name, side.mark, *(side.scores or _UNSCORED)

    def add_records(self, records: Iterable[TargetRecord]) -> None:
        """Records, best in order of their ids; one that is there already stays."""
        rest, execute = iter(records), self._connection.executemany
        while some := list(islice(rest, ROWS_A_STATEMENT)):
            execute(queries.ADD_RECORD, map(self._plain_record, some))
            execute(queries.ADD_RECORD_CONTENT, (side for record in some for side in self._record_sides(record)))

    def _plain_record(self, record: TargetRecord) -> tuple[Any, ...]:
        where = (self._number, record.record_id, record.key, record.slice)
        return *where, record.stored, record.computed, record.batch, _names(record.odd), _names(record.unknown)

    def _record_sides(self, record: TargetRecord) -> Iterator[tuple[Any, ...]]:
        for name, side in zip(self._properties, record.sides, strict=True):
            where = (self._number, record.record_id, name)
            yield *where, side.mark, side.carriers, _names(side.spoken), side.sent

    def add_scores(self, property_name: str, probe: int, scores: Iterable[tuple[str, float]]) -> None:
        """Record id and score against the probe of this number; records that were not added are left out."""
        rows = ((score, self._number, record_id, property_name) for record_id, score in scores)
        self._connection.executemany(queries.ADD_SCORE[probe], rows)

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
        with contextlib.closing(self._prepared(changed, slices)):
            bound = {**self._bound, "sees": changed is not None}
            for kind, query, told in queries.DIFFERENCES:
                if kind in kinds:
                    for key, behind, *found in self._connection.execute(query, bound):
                        yield Difference(kind, key, told(*found), bool(behind))

    def _prepared(self, changed: Iterable[str] | None, slices: Iterable[str] | None) -> _Prepared:
        prepared = _Prepared(self._connection)
        self._connection.executescript(queries.PREPARE)
        self._connection.executemany("INSERT OR IGNORE INTO changed VALUES (?)", ((key,) for key in changed or ()))
        if slices is None:
            self._connection.execute(queries.CHOOSE_EVERY_SLICE)
        else:
            self._connection.executemany("INSERT OR IGNORE INTO chosen VALUES (?)", ((name,) for name in slices))
        self._connection.execute(queries.CHOOSE_MAIN, self._bound)
        return prepared

    def evidence(self, key: str) -> str:
        """All that was read of a key, on both sides: the same twice in a row is no passing state."""
        bound = {**self._bound, "key": key}
        found = [self._connection.execute(query, bound).fetchall() for query in queries.EVIDENCE]
        return repr(found)

    def _one(self, query: str, parameters: Mapping[str, Any] | None = None) -> Any:
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
