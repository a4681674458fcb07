"""What a repair changes in the ledger before it writes: which record a key's is, and whom a record belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select

from byov_migrate.state import schema
from byov_migrate.state.ledger import UNSETTLED
from byov_migrate.state.store import KEYS_A_QUERY, Store, replacing


class Mending:
    """Keys pointed at the records that are there; nothing is known of what those hold until they are written."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def point(self, table: str, record_ids: Mapping[str, str]) -> None:
        """Key -> record id: from now on that is the key's record, to be written whole by the next sync or repair."""
        rows = [
            {"table_name": table, "key": key, "record_id": record_id, "hash": UNSETTLED, "batch": ""}
            for key, record_id in record_ids.items()
        ]
        keys, columns = list(record_ids), schema.vector.c
        with self._store.writing() as connection:
            if rows:
                connection.execute(replacing(schema.ledger), rows)
            for start in range(0, len(keys), KEYS_A_QUERY):
                some = columns.key.in_(keys[start : start + KEYS_A_QUERY])
                connection.execute(delete(schema.vector).where(columns.table_name == table, some))

    def holders(self, table: str, record_ids: Sequence[str]) -> dict[str, str]:
        """Record id -> key, of those records that the ledger knows."""
        found: dict[str, str] = {}
        columns = schema.ledger.c
        query = select(columns.record_id, columns.key).where(columns.table_name == table)
        with self._store.reading() as connection:
            for start in range(0, len(record_ids), KEYS_A_QUERY):
                some = columns.record_id.in_(record_ids[start : start + KEYS_A_QUERY])
                found.update({row.record_id: row.key for row in connection.execute(query.where(some))})
        return found
