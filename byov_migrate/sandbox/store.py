"""The SQLite file behind the sandbox, and the transaction that one request runs in."""

from __future__ import annotations

import re
import secrets
import sqlite3
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from byov_migrate.sandbox.replies import database_failure
from byov_migrate.sandbox.schema import PLANNER_HINTS, SCHEMA
from byov_migrate.sandbox.values import is_datetime
from byov_migrate.sandbox.vectors import VectorCache, VectorChange


class IdSource:
    """UUIDv7 in strictly rising order, so that the newest record has the greatest id."""

    def __init__(self) -> None:
        self._millisecond = 0
        self._sequence = 0

    def next(self) -> str:
        """A new id, greater than all before it."""
        now = time.time_ns() // 1_000_000
        if now > self._millisecond:
            self._millisecond, self._sequence = now, secrets.randbits(72)
        else:
            self._sequence += 1 + secrets.randbits(24)
        high, low = self._sequence >> 62, self._sequence & (2**62 - 1)
        digits = f"{self._millisecond << 80 | 7 << 76 | high << 64 | 2 << 62 | low:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class Session:
    """One request's transaction in one project.

    `property_changes` and `vector_changes` are collected while it runs: the first is written just before the
    commit, the second reaches the vectors in memory just after it.
    """

    def __init__(self, connection: sqlite3.Connection, project: int, project_id: str, store: Store) -> None:
        self.connection = connection
        self.project = project
        self.project_id = project_id
        self.vectors = store.vectors
        self.new_id = store.ids.next
        self.property_changes: Counter[tuple[str, str, str]] = Counter()  # (name, label, type)
        self.vector_changes: list[VectorChange] = []
        self.unique_properties: dict[str, list[str]] = {}
        for label, name in connection.execute("SELECT label, property FROM uniqueness"):
            self.unique_properties.setdefault(label, []).append(name)

    def write_property_counts(self) -> None:
        """Add the changes collected so far to the counts on disk."""
        self.connection.executemany(
            "INSERT INTO property_count VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET records = records + excluded.records",
            [(self.project, *key, change) for key, change in self.property_changes.items() if change],
        )


class Store:
    """All projects of one data directory. Requests take turns: one transaction at a time.

    Survives a kill at any moment: what was answered is in the write-ahead log.
    """

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.ids = IdSource()
        self.vectors = VectorCache()
        self._lock = threading.RLock()
        self._connection = _open(data / "sandbox.db")

    @contextmanager
    def session(self, project: str) -> Iterator[Session]:
        """A transaction in the project of that name: committed at the end, rolled back by any exception."""
        with self._lock:
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                session = Session(connection, *_project_row(connection, project), self)
                yield session
                session.write_property_counts()
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            self.vectors.apply(session.vector_changes)

    def close(self) -> None:
        """Wait for the running transaction, then let the file go."""
        with self._lock:
            self._connection.close()


def utc_now() -> str:
    """The time as replies spell it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA cache_size = -65536")
    connection.executescript(SCHEMA)
    connection.executescript(PLANNER_HINTS)
    connection.create_function("instant", 1, _instant, deterministic=True)
    connection.create_function("contains_text", 2, _contains, deterministic=True)
    connection.create_function("starts_with", 2, lambda value, start: value.startswith(start), deterministic=True)
    connection.create_function("ends_with", 2, lambda value, end: value.endswith(end), deterministic=True)
    return connection


def _project_row(connection: sqlite3.Connection, name: str) -> tuple[int, str]:
    found = connection.execute("SELECT number, id FROM project WHERE name = ?", (name,)).fetchone()
    if found is None:
        connection.execute("INSERT INTO project (name, id) VALUES (?, ?)", (name, str(uuid.uuid4())))
        return _project_row(connection, name)
    return int(found[0]), str(found[1])


def _instant(text: object) -> int | None:
    """Nanoseconds since the epoch of a text RushDB takes as a datetime, else None; without an offset it is UTC."""
    if not isinstance(text, str) or not is_datetime(text):
        return None
    whole, _, rest = text.replace("Z", "+00:00").replace("z", "+00:00").partition(".")
    fraction = re.match(r"\d*", rest)
    digits = fraction.group() if fraction else ""
    moment = datetime.fromisoformat(whole + rest[len(digits) :])
    seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    return seconds * 10**9 + int(digits.ljust(9, "0") or 0)


def _contains(value: str, pattern: str) -> bool:
    return re.fullmatch(f".*{pattern}.*", value, re.IGNORECASE) is not None


def check_pattern(pattern: str) -> None:
    """Raise the 500 that a text which is no regular expression ends in."""
    try:
        re.compile(pattern)
    except re.error as exc:
        raise database_failure() from exc
