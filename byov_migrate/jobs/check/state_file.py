"""The state file, read without leaving anything behind: not a lock, not a write-ahead log."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from byov_migrate.errors import Refused, Unavailable
from byov_migrate.state.schema import FORMAT


@dataclass(frozen=True, slots=True)
class StateFacts:
    """What a state says. `records`: table -> records proved to be stored; `scope`: what it belongs to."""

    format: int
    state_id: str
    generation: int
    records: Mapping[str, int]
    scope: Mapping[str, Any]


def read_state(path: Path) -> StateFacts | None:
    """None when there is no file. Raise Refused for a file that is none of ours, damaged or of a later format."""
    if not path.exists():
        return None
    try:
        with contextlib.closing(sqlite3.connect(_read_only(path), uri=True)) as connection:
            return _read(connection, path)
    except sqlite3.OperationalError as error:
        raise Unavailable(f"the state {path.name} cannot be read now ({error.sqlite_errorname})") from error
    except sqlite3.DatabaseError as error:
        raise Refused(f"the state {path.name} is damaged; put your last backup in its place") from error


def _read_only(path: Path) -> str:
    """Without a log beside it nobody is at work, and opening it in the usual way would make one."""
    has_log = path.with_name(path.name + "-wal").exists()
    return f"file:{quote(str(path.resolve()))}?mode=ro{'' if has_log else '&immutable=1'}"


def _read(connection: sqlite3.Connection, path: Path) -> StateFacts:
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"meta", "ledger", "scope"} <= names:
        raise Refused(f"{path.name} is a SQLite file of another program; choose another [state] url")
    facts = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    found = int(facts.get("format", 0))
    if found > FORMAT:
        raise Refused(
            f"the state {path.name} was written by a later version (format {found}, this one knows {FORMAT}); upgrade"
            " byov-migrate"
        )
    counted = connection.execute("SELECT table_name, count(*) FROM ledger GROUP BY table_name").fetchall()
    scope = connection.execute("SELECT field, value FROM scope").fetchall()
    return StateFacts(
        found,
        str(facts.get("state_id", "")),
        int(facts.get("generation", 1)),
        dict(counted),
        {name: json.loads(value) for name, value in scope},
    )
