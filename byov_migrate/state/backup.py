"""The state and its hash key in one file, by SQLite's own backup: consistent while a run is at work.

Copying the file by hand loses what still stands in the write-ahead log.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from byov_migrate.errors import Refused
from byov_migrate.state.database import translated_errors
from byov_migrate.state.keyfile import write_key

_MAKE_KEY = "CREATE TABLE hash_key (value TEXT NOT NULL)"


def copy_out(state: Path, key: bytes, file: Path) -> None:
    """Write a backup, mode 0600. Raise Refused when the file is there already."""
    with translated_errors(file):
        if file.exists():
            raise Refused(f"{file.name} is there already; name a new file")
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with translated_errors(state), _opened(state) as source, _opened(file) as target:
        source.backup(target)
        target.execute(_MAKE_KEY)
        target.execute("INSERT INTO hash_key VALUES (?)", (key.hex(),))


def copy_in(file: Path, state: Path, key_file: Path) -> None:
    """Make a state, one generation on, and its key file from a backup.

    Raise Refused when the file is no backup, or when a state or another key is there.
    """
    if state.exists():
        raise Refused(f"there is a state at {state.name}; move it away first")
    key = _key_in(file)
    if not key_file.exists():
        write_key(key_file, key)
    elif key_file.read_text(encoding="ascii").strip() != key:
        raise Refused(f"{key_file.name} holds another key than the backup; move it away first")
    state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = state.with_name(f".{state.name}.restoring")
    made.unlink(missing_ok=True)
    with translated_errors(state):
        os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with _opened(file) as source, _opened(made) as target:
            source.backup(target)
            target.execute("PRAGMA secure_delete = ON")  # else the key would stay in the file's free pages
            target.execute("DROP TABLE hash_key")
            target.execute(
                "INSERT OR REPLACE INTO meta SELECT 'generation',"
                " coalesce((SELECT value FROM meta WHERE name = 'generation'), 1) + 1"
            )
        made.replace(state)  # whole or not at all


def _key_in(file: Path) -> str:
    if not file.exists():
        raise Refused(f"there is no file {file.name}")
    try:
        with _opened(file) as source:
            return str(source.execute("SELECT value FROM hash_key").fetchone()[0])
    except (sqlite3.DatabaseError, TypeError) as error:
        raise Refused(f"{file.name} is no backup of a state") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        yield connection
