"""What a state holds, read without changing a byte of it: no lock, no checkpoint, no missing table made."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from byov_migrate.state.ledger import Ledger
from byov_migrate.state.scope import Scope
from byov_migrate.state.store import Store


@contextlib.contextmanager
def looked_at(path: Path, clock: Callable[[], float]) -> Iterator[tuple[Scope, Ledger]]:
    """Scope and ledger of an existing state. Raise Refused when the file is none."""
    engine = create_engine("sqlite://", creator=lambda: _read_only(path), poolclass=NullPool)
    store = Store(engine, path, clock)
    try:
        yield Scope(store), Ledger(store)
    finally:
        engine.dispose()


def _read_only(path: Path) -> sqlite3.Connection:
    """Without a write-ahead log beside it the file is whole, and SQLite need not make one to read it."""
    log = path.with_name(path.name + "-wal")
    mode = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True)
