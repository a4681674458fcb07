"""A state read without changing a byte of it: no lock, no checkpoint, no write-ahead log, no missing table made."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from byov_migrate.state.carriers import Carriers
from byov_migrate.state.database import require_our_format, translated_errors
from byov_migrate.state.ledger import Ledger
from byov_migrate.state.links import Links
from byov_migrate.state.runs import Runs
from byov_migrate.state.scope import Scope
from byov_migrate.state.store import Store


@dataclass(frozen=True)
class StateInSight:
    """What can be asked of a state that is only looked at. `format`: of its file."""

    format: int
    runs: Runs
    scope: Scope
    ledger: Ledger
    links: Links
    carriers: Carriers


@contextlib.contextmanager
def looked_at(path: Path, clock: Callable[[], float]) -> Iterator[StateInSight]:
    """Look at an existing state. Raise Refused when the file is none of ours, damaged or of a later format."""
    with translated_errors(path):
        engine = create_engine("sqlite://", creator=lambda: _read_only(path), poolclass=NullPool)
        store = Store(engine, path, clock)
        try:
            with store.reading() as connection:
                found = require_our_format(connection, path)
            yield StateInSight(found, Runs(store), Scope(store), Ledger(store), Links(store), Carriers(store))
        finally:
            engine.dispose()


def _read_only(path: Path) -> sqlite3.Connection:
    """Without a write-ahead log beside it the file is whole, and SQLite need not make one to read it."""
    log = path.with_name(path.name + "-wal")
    mode = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True)
