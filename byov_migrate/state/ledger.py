"""What is proved to be stored, and what was rejected: questions only; `journal` alone writes here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Select, func, select

from byov_migrate.records import Known, Refs
from byov_migrate.state import schema
from byov_migrate.state.edges import refs_of
from byov_migrate.state.schema import LOST
from byov_migrate.state.store import KEYS_A_QUERY, Store
from byov_migrate.state.vector_cache import READY

UNSETTLED = ""
"""Stands for the hash of a record that was begun to be rewritten or deleted, and never proved."""


RECORD_GONE = "record-gone"
"""Code of a reject: its record was deleted by somebody else while it was written."""


class Ledger:
    """Records, vectors and rejects of a state."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def known_keys(self, table: str, keys: Sequence[str]) -> set[str]:
        """Those of `keys` whose records are proved to be stored."""
        known: set[str] = set()
        columns = schema.ledger.c
        with self._store.reading() as connection:
            for start in range(0, len(keys), KEYS_A_QUERY):
                some = list(keys[start : start + KEYS_A_QUERY])
                query = select(columns.key).where(columns.table_name == table, columns.key.in_(some))
                known.update(connection.execute(query).scalars())
        return known

    def known(self, table: str, keys: Sequence[str], properties: Sequence[str]) -> dict[str, Known]:
        """What is known of the records of these keys; `properties` are the embeddings' names in order."""
        records, vectors = schema.ledger.c, schema.vector.c
        found: dict[str, Any] = {}
        marks: dict[tuple[str, str], str] = {}
        with self._store.reading() as connection:
            for start in range(0, len(keys), KEYS_A_QUERY):
                some = list(keys[start : start + KEYS_A_QUERY])
                ledger = select(records.key, records.record_id, records.hash)
                ledger = ledger.where(records.table_name == table, records.key.in_(some))
                found.update({row.key: row for row in connection.execute(ledger)})
                hashes = select(vectors.key, vectors.property, vectors.text_hash)
                hashes = hashes.where(vectors.table_name == table, vectors.key.in_(some))
                hashes = hashes.where(vectors.property.in_(list(properties)))
                marks.update({(row.key, row.property): row.text_hash for row in connection.execute(hashes)})
            refs = refs_of(connection, table, list(found))
        return {
            key: _known(row, [marks.get((key, name)) for name in properties], refs.get(key, {}))
            for key, row in found.items()
        }

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

    def record_ids(self, table: str, keys: Sequence[str]) -> dict[str, str]:
        """Key -> RushDB id of the stored records among these keys."""
        return {key: known.record_id for key, known in self.known(table, keys, ()).items()}

    def unsettled(self, table: str) -> list[str]:
        """Keys of records that were begun to be rewritten or deleted, and never proved.

        Rejected ones apart, but for those whose record somebody else deleted: they are made anew.
        """
        columns, rejects = schema.ledger.c, schema.reject.c
        rejected = select(rejects.key).where(rejects.table_name == table, rejects.code != RECORD_GONE)
        query = select(columns.key).where(columns.table_name == table, columns.hash == UNSETTLED)
        with self._store.reading() as connection:
            return list(connection.execute(query.where(columns.key.not_in(rejected))).scalars())

    def record_id(self, table: str, key: str) -> str | None:
        """The RushDB id of a stored record."""
        columns = schema.ledger.c
        query = select(columns.record_id).where(columns.table_name == table, columns.key == key)
        with self._store.reading() as connection:
            found: str | None = connection.execute(query).scalar_one_or_none()
        return found

    def some_ids(self, table: str, limit: int) -> list[str]:
        """RushDB ids of a table's stored records, at most so many."""
        columns = schema.ledger.c
        query = select(columns.record_id).where(columns.table_name == table).order_by(columns.key).limit(limit)
        with self._store.reading() as connection:
            return list(connection.execute(query).scalars())

    def count_records(self, table: str) -> int:
        """How many records of a table are proved to be stored."""
        return self._count(select(func.count()).where(schema.ledger.c.table_name == table))

    def count_vectors(self, table: str, property_name: str) -> int:
        """How many vectors of one embedding are proved to be attached."""
        columns = schema.vector.c
        here = (columns.table_name == table, columns.property == property_name, schema.is_there)
        return self._count(select(func.count()).where(*here))

    def count_adopted(self, table: str, properties: Sequence[str]) -> int:
        """Of these vectors those whose scores RushDB itself has told, when the state was rebuilt.

        Ready ones are compared with the source's, whatever the state knows.
        """
        columns, vectors = schema.adopted.c, schema.vector.c
        same = (vectors.table_name == columns.table_name) & (vectors.property == columns.property)
        joined = schema.adopted.join(schema.vector, same & (vectors.key == columns.key))
        here = (columns.table_name == table) & columns.property.in_(list(properties))
        here &= vectors.text_hash.not_like(f"%{READY}")
        return self._count(select(func.count()).select_from(joined).where(here))

    def count_rejects(self, table: str) -> int:
        """How many rows are rejected and not accepted."""
        columns = schema.reject.c
        return self._count(select(func.count()).where(columns.table_name == table, columns.accepted_at.is_(None)))

    def _count(self, query: Select[int]) -> int:
        with self._store.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def count_unknown_rejects(self, table: str) -> int:
        """How many rejected rows have no record: with the records they are the rows that are accounted for."""
        columns, records = schema.reject.c, schema.ledger.c
        stored = select(records.key).where(records.table_name == table)
        query = select(func.count()).where(columns.table_name == table, columns.key.not_in(stored))
        return self._count(query)

    def rejects(self, table: str | None = None) -> list[dict[str, Any]]:
        """Every reject, oldest first."""
        query = select(schema.reject).order_by(schema.reject.c.first_at)
        return self._store.rows(query if table is None else query.where(schema.reject.c.table_name == table))

    def vectors(self, table: str, property_name: str) -> Iterator[tuple[str, tuple[float, float, float]]]:
        """Key and probe scores of every attached vector, streamed."""
        columns = schema.vector.c
        query = select(columns.key, columns.score_0, columns.score_1, columns.score_2)
        query = query.where(columns.table_name == table, columns.property == property_name, schema.is_there)
        with self._store.reading() as connection:
            for row in connection.execution_options(yield_per=1000).execute(query):
                yield row.key, (row.score_0, row.score_1, row.score_2)


def _known(row: Any, marks: Sequence[str | None], refs: Refs) -> Known:
    lost = tuple(mark.removeprefix(LOST) if mark and mark.startswith(LOST) else None for mark in marks)
    there = tuple(None if old else mark for mark, old in zip(marks, lost, strict=True))
    return Known(row.record_id, row.hash, there, refs=refs, lost=lost)
