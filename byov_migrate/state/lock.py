"""One run at a time: a lock on a file beside the state, released by the kernel when the process dies.

The file is never removed: a waiter could hold a lock on the removed one while a third process locks a new one. It is
opened without truncation, because a loser must not erase what the winner wrote about itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from byov_migrate.errors import Busy
from byov_migrate.state.database import translated_errors


@contextlib.contextmanager
def run_lock(state: Path, *, command: str, now: float) -> Iterator[None]:
    """Hold the lock of a state, making its folder. Raise Busy at once when another process holds it."""
    path = _lock_path(state)
    with translated_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Busy(f"another run is at work: {_holder(path)}") from error
        _describe_holder(descriptor, command, now)
        yield
    finally:
        os.close(descriptor)


def _lock_path(state: Path) -> Path:
    return state.with_name(state.name + ".lock")


def require_unlocked(state: Path) -> None:
    """Raise Busy when a run is at work. Makes no file; a shared lock, for a moment, tells it."""
    path = _lock_path(state)
    if not path.exists():
        return
    with translated_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Busy(f"another run is at work: {_holder(path)}") from error
    finally:
        os.close(descriptor)


def _describe_holder(descriptor: int, command: str, now: float) -> None:
    about = {"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": now}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(about).encode(), 0)


def _holder(path: Path) -> str:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return f"{about['command']}, process {about['pid']} on {about['host']}"
    except (OSError, ValueError, KeyError):
        return "it has just started"
