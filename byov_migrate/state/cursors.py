"""Where the next sync of a table begins, and when deletes were last looked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from byov_migrate.state import schema
from byov_migrate.state.store import Store, replacing


@dataclass(frozen=True, slots=True)
class Synced:
    """What the last syncs of a table left behind.

    cursor: the state of the source that is known, as the source room wrote it. synced_at, swept_at: seconds since
    1970; None before the first. rows, checksum: of the source's keys at the last sweep; None once keys came or went.
    """

    cursor: Mapping[str, Any]
    synced_at: float | None
    swept_at: float | None
    rows: int | None
    checksum: str | None


@dataclass(frozen=True, slots=True)
class Sweep:
    """A look for deletes that found ledger and source to hold the same keys, or made them so."""

    rows: int
    checksum: str


class Cursors:
    """One row a table. Moves only when everything before it is settled."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, table: str) -> Synced | None:
        """None before the table was planned."""
        rows = self._store.rows(select(schema.sync).where(schema.sync.c.table_name == table))
        if not rows:
            return None
        row = rows[0]
        return Synced(row["cursor"], row["synced_at"], row["swept_at"], row["swept_rows"], row["swept_checksum"])

    def begin(self, table: str, cursor: Mapping[str, Any]) -> None:
        """Remember the state of the source at which a backfill begins."""
        with self._store.writing() as connection:
            connection.execute(replacing(schema.sync).values(table_name=table, cursor=dict(cursor)))

    def distrust(self, table: str) -> None:
        """Keys are about to come or go: a run that is killed now must not leave a sum that fits by chance."""
        with self._store.writing() as connection:
            here = schema.sync.c.table_name == table
            connection.execute(update(schema.sync).where(here).values(swept_rows=None, swept_checksum=None))

    def move(self, table: str, cursor: Mapping[str, Any], sweep: Sweep | None) -> None:
        """Move on after a complete sync; with `sweep`, deletes were looked for and are done."""
        now = self._store.clock()
        values: dict[str, Any] = {"cursor": dict(cursor), "synced_at": now}
        if sweep is not None:
            values |= {"swept_at": now, "swept_rows": sweep.rows, "swept_checksum": sweep.checksum}
        with self._store.writing() as connection:
            connection.execute(update(schema.sync).where(schema.sync.c.table_name == table).values(**values))
