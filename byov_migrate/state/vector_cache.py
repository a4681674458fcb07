"""Vectors kept on this machine: with them a record can be rewritten without embedding its text again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, select

from byov_migrate.records import Embedded, Vector
from byov_migrate.state import schema
from byov_migrate.state.store import KEYS_A_QUERY, Store, replacing

READY = ":ready"
"""How the text hash of a vector ends that stands in PostgreSQL: the source is its own cache."""


class VectorCache:
    """Questions; rows are written with the receipts that prove them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def vectors(self, table: str, property_name: str, wanted: Mapping[str, str]) -> dict[str, Vector]:
        """Key -> vector, of those whose text hash is still the wanted one."""
        found: dict[str, Vector] = {}
        columns, keys = schema.vector_cache.c, list(wanted)
        query = select(columns.key, columns.text_hash, columns.vector)
        query = query.where(columns.table_name == table, columns.property == property_name)
        with self._store.reading() as connection:
            for start in range(0, len(keys), KEYS_A_QUERY):
                some = connection.execute(query.where(columns.key.in_(keys[start : start + KEYS_A_QUERY])))
                found |= {row.key: _vector(row.vector) for row in some if row.text_hash == wanted[row.key]}
        return found


def _vector(content: bytes) -> Vector:
    return np.frombuffer(content, dtype="<f4").astype(np.float32)


def keep_vectors(connection: Connection, table: str, properties: Sequence[str], rows: Sequence[Embedded]) -> None:
    """Keep the vectors that a model made."""
    kept = [
        _row(table, name, item.document.key, mark, vector)
        for item in rows
        for name, mark, vector in zip(properties, item.document.text_hashes, item.vectors, strict=True)
        if mark is not None and vector is not None and not mark.endswith(READY)
    ]
    if kept:
        connection.execute(replacing(schema.vector_cache), kept)


def _row(table: str, name: str, key: str, mark: str, vector: Vector) -> dict[str, Any]:
    content = np.ascontiguousarray(vector, dtype="<f4").tobytes()
    return {"table_name": table, "property": name, "key": key, "text_hash": mark, "vector": content}


def forget_vectors(connection: Connection, table: str, keys: Sequence[str]) -> None:
    """Drop the vectors of records that are gone."""
    columns = schema.vector_cache.c
    connection.execute(delete(schema.vector_cache).where(columns.table_name == table, columns.key.in_(keys)))
