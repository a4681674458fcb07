"""The SQLite file: opened carefully, written durably, refused when it is not what it seems."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry

from byov_migrate.errors import MigrationError, PersonNeeded, Refused, Unavailable
from byov_migrate.state import schema

BUSY_TIMEOUT_MS = 10_000
# Shared memory of the write-ahead log does not work across machines.
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs"})


def open_database(path: Path, *, create: bool) -> Engine:
    """An engine on the state file, made (0600, in a folder of 0700 if that has to be made too) when `create`.

    Raise Refused when the file is corrupt, foreign or of a later format, or absent without `create`.
    """
    with translated_errors(path):
        exists = path.exists()
    if not exists:
        if not create:
            raise Refused(f"there is no state at {path.name}", next_step="byov-migrate backfill")
        _make_file(path)
    _refuse_network_file_system(path)
    engine = create_engine(URL.create("sqlite", database=str(path)))  # a ? in the name is no query
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin_immediate)
    with translated_errors(path):
        _check_format(engine, path)
    return engine


def _make_file(path: Path) -> None:
    with translated_errors(path):
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _refuse_network_file_system(path: Path) -> None:
    kind = file_system_of(path.resolve())
    if kind in NETWORK_FILE_SYSTEMS:
        raise PersonNeeded(
            f"the state {path.name} lies on a network file system ({kind}), where its locks do not hold;"
            " put it on a local disk"
        )


def file_system_of(path: Path) -> str:
    """Type of the file system that holds a path, by the longest mount point; "" where it cannot be told."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    holders = [(point, kind) for _, point, kind, *_ in mounts if path.is_relative_to(point.replace("\\040", " "))]
    return max(holders, key=lambda holder: len(holder[0]), default=("", ""))[1]


def _set_pragmas(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # else sqlite3 opens transactions of its own, and late
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def _check_format(engine: Engine, path: Path) -> None:
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        names = _table_names(connection)
        if not names:
            schema.metadata.create_all(connection)
            first = [{"name": "format", "value": str(schema.FORMAT)}, {"name": "state_id", "value": str(uuid.uuid4())}]
            connection.execute(insert(schema.meta), first)
            return
        require_our_format(connection, path)
        if missing := [table for name, table in schema.metadata.tables.items() if name not in names]:
            schema.metadata.create_all(connection, tables=missing)


def _table_names(connection: Connection) -> set[str]:
    return {row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")}


def require_our_format(connection: Connection, path: Path) -> int:
    """The format of an open state. Raise Refused for a file of another program, or of a later version."""
    if not {"meta", "ledger"} <= _table_names(connection):
        raise Refused(f"{path.name} is a SQLite file of another program; choose another [state] url")
    stored = int(connection.execute(select(schema.meta.c.value).where(schema.meta.c.name == "format")).scalar_one())
    if stored > schema.FORMAT:
        raise Refused(
            f"the state {path.name} was written by a later version (format {stored},"
            f" this one knows {schema.FORMAT}); upgrade byov-migrate"
        )
    return stored


@contextlib.contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's and the file system's failures into ours, by code, without any value."""
    try:
        yield
    except MigrationError:
        raise
    except DatabaseError as error:
        raise _from_sqlite(error.orig, path) from error
    except sqlite3.DatabaseError as error:  # from a connection that SQLAlchemy did not open
        raise _from_sqlite(error, path) from error
    except OSError as error:
        raise _from_os(error, path) from error


# SQLite's own names of its errors -> what to tell people. Matched by prefix: the extended names say more.
_FULL = ("SQLITE_FULL", "SQLITE_IOERR")
_LOCKED = ("SQLITE_BUSY",)
_FORBIDDEN = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def _from_sqlite(error: object, path: Path) -> MigrationError:
    name = str(getattr(error, "sqlite_errorname", None) or type(error).__name__)
    about = f"the state {path.name}"
    if name.startswith(_FULL):
        return Unavailable(f"the disk under {about} is full or failing; free space, the next run continues")
    if name.startswith(_LOCKED):
        return Unavailable(f"another process holds {about}")
    if name.startswith(_FORBIDDEN):
        return PersonNeeded(f"{about} cannot be written; check the permissions of the file and its folder")
    if name.startswith(_DAMAGED):
        return Refused(f"{about} is damaged; nothing was written. Put your last backup in its place")
    return MigrationError(f"{about} failed: {name}")


def _from_os(error: OSError, path: Path) -> MigrationError:
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return Unavailable(f"the disk under {path.name} is full; free space, the next run continues")
    return PersonNeeded(f"cannot use {path.name}: {error.strerror}")
