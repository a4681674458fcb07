"""Fault points for a process under test: before and after everything that touches disk, network or model.

Put this folder on PYTHONPATH and set BYOV_TEST_FAULT:

    count:FILE       write the name of every point that is passed to FILE, a line each
    kill:N           SIGKILL this process at point N (from 1)
    raise:N          the operation of point N fails as if its other side had gone; at an `after` point it has acted
    full:N           as `raise`, for a full disk; points of the network are left alone

Points of the model can only be killed at: it has no other side that could go.

Points are numbered in the order in which they are passed. The main program knows nothing of this file.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

MODE, _, ARGUMENT = os.environ.get("BYOV_TEST_FAULT", "").partition(":")
_numbers = itertools.count(1)
_lock = threading.Lock()


Failure = Callable[[], BaseException]


def point(name: str, failure: Failure | None, *, is_disk: bool) -> None:
    """Pass one point."""
    with _lock:
        number = next(_numbers)
        if MODE == "count":
            with open(ARGUMENT, "a", encoding="utf-8") as file:  # noqa: PTH123 - os.open is watched
                file.write(f"{name}\n")
            return
        if number != int(ARGUMENT):
            return
        if MODE == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
    if failure is not None and (MODE == "raise" or (MODE == "full" and is_disk)):
        raise failure()


def watch(owner: Any, name: str, label: str, failure: Failure | None, *, is_disk: bool) -> None:
    """Put a point before and after a function."""
    original = getattr(owner, name)

    def watched(*arguments: Any, **options: Any) -> Any:
        point(f"before {label}", failure, is_disk=is_disk)
        result = original(*arguments, **options)
        point(f"after {label}", failure, is_disk=is_disk)
        return result

    setattr(owner, name, watched)


def full_disk() -> OSError:
    """What the kernel says."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_database() -> sqlite3.OperationalError:
    """What SQLite says."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode, error.sqlite_errorname = 13, "SQLITE_FULL"
    return error


def install() -> None:
    """Watch HTTP, PostgreSQL, SQLite, the model and the files that are written by hand."""
    import httpx
    import psycopg
    from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite as Dialect

    from byov_migrate.embed import Encoder

    watch(httpx.Client, "request", "http request", lambda: httpx.ReadError("cut"), is_disk=False)
    watch(psycopg.Cursor, "execute", "postgres execute", lambda: psycopg.OperationalError("cut"), is_disk=False)
    watch(Dialect, "do_execute", "state execute", lambda: wrapped(full_database()), is_disk=True)
    watch(Dialect, "do_executemany", "state executemany", lambda: wrapped(full_database()), is_disk=True)
    watch(Dialect, "do_commit", "state commit", lambda: wrapped(full_database()), is_disk=True)
    watch(Encoder, "encode_documents", "embedding", None, is_disk=False)
    for name in ("open", "fsync", "link", "unlink"):
        watch(os, name, f"file {name}", full_disk, is_disk=True)


def wrapped(error: sqlite3.OperationalError) -> sqlite3.OperationalError:
    """As it is: SQLAlchemy wraps what its dialect raises."""
    return error


if MODE:
    install()
