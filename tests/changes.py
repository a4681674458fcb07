"""What the tests of changes ask of a reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg.conninfo import make_conninfo

from byov_migrate.source import (
    Changes,
    Cursor,
    KeySum,
    Session,
    Strategy,
    TableReader,
)
from tests.postgres import password_of, session_to

WINDOW = Strategy("window", "")
WATERMARK = Strategy("watermark", "")
FAST: dict[str, Any] = {"changed_by": "updated_at", "overlap": "0s"}


def cursor_of(reader: TableReader, since: Cursor | None = None) -> Cursor:
    """The state of now."""
    with reader.changes(None, since) as opened:
        return opened.cursor


def changed(reader: TableReader, since: Cursor, strategy: Strategy = WINDOW) -> dict[str, bool]:
    """The first column of the changed keys, and whether their rows are selected."""
    with reader.changes(strategy, since) as opened:
        return {key[0]: is_selected for key, is_selected in opened.changed_keys()}


def key_sum(reader: TableReader) -> KeySum:
    """Of now."""
    with reader.changes(None, None) as opened:
        return opened.key_sum()


@contextmanager
def role(dsn: str, db: psycopg.Connection[Any], grant: LiteralString) -> Iterator[Session]:
    """A session of a role that owns nothing but may read `job`, and a table `job` to read."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY, updated_at timestamptz)")
    db.execute("INSERT INTO job SELECT n, now() - interval '1 min' FROM generate_series(1, 9) n")
    db.execute("DROP ROLE IF EXISTS reader")
    db.execute(f"CREATE ROLE reader LOGIN PASSWORD '{password_of(dsn)}'")
    db.execute(grant)
    with session_to(make_conninfo(dsn, user="reader")) as session:
        yield session
    db.execute("DROP OWNED BY reader; DROP ROLE reader")


def read_after(db: psycopg.Connection[Any], statement: LiteralString, opened: Changes, reading: str) -> None:
    """Do something to the table between the snapshot of `opened` and a reading, and read to the end."""
    db.execute(statement)
    found = getattr(opened, reading)()
    if reading != "key_sum":
        list(found)
