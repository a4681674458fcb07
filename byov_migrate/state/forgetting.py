"""What a state forgets of a table whose migration is taken back. In two steps, so that a kill between them is harmless.

    begin     plan, positions, cursor: no sync fills the gaps again, and a new backfill plans anew
    finish    everything else of the table, once the target holds nothing of it

Between the two the ledger alone says what is left to delete. State id, hash key and the history of runs stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, select, update

from byov_migrate.state import schema
from byov_migrate.state.ledger import UNSETTLED
from byov_migrate.state.scope import carrier_prefix
from byov_migrate.state.store import Store

_POSITIONS = (schema.plan, schema.key_range, schema.sync)
_OF_A_TABLE = tuple(table for table in schema.metadata.tables.values() if "table_name" in table.c)
KEPT_PLACE = "hash_key"
"""The only field without a table that stays when no table is left: the key itself stays too."""


class Forgetting:
    """Drops what is known of one table."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, table: str) -> None:
        """Forget plan, positions and cursor of a table, and reports that speak of it."""
        with self._store.writing() as connection:
            for forgotten in _POSITIONS:
                connection.execute(delete(forgotten).where(forgotten.c.table_name == table))
            _forget_reports(connection, table)

    def some_keys(self, table: str, limit: int) -> list[str]:
        """Keys of the table's records that are still known, at most `limit`, in order."""
        columns = schema.ledger.c
        query = select(columns.key).where(columns.table_name == table).order_by(columns.key).limit(limit)
        with self._store.reading() as connection:
            return list(connection.execute(query).scalars())

    def finish(self, table: str) -> None:
        """Forget the table altogether; after the last one also which source and which target the state belonged to."""
        with self._store.writing() as connection:
            for forgotten in _OF_A_TABLE:
                connection.execute(delete(forgotten).where(forgotten.c.table_name == table))
            _forget_reports(connection, table)
            _forget_links(connection, table)
            _forget_scope(connection, table)


def forget_carrier(connection: Connection, table: str, property_name: str) -> None:
    """Everything about the vectors under one property, whose index is gone or is only made now."""
    for kept in (schema.vector, schema.adopted, schema.vector_cache, schema.carrier):
        connection.execute(delete(kept).where(kept.c.table_name == table, kept.c.property == property_name))
    _let_refused_be_read_again(connection, table, property_name)
    forget_scope_of(connection, table, property_name)


def forget_vectors(connection: Connection, table: str, property_name: str) -> None:
    """The vectors under one property, which went with its index. What text each record says stays known, as lost."""
    vectors, adopted = schema.vector.c, schema.adopted.c
    here = (vectors.table_name == table, vectors.property == property_name, schema.is_there)
    connection.execute(update(schema.vector).where(*here).values(text_hash=schema.LOST + vectors.text_hash))
    vouched = (adopted.table_name == table, adopted.property == property_name)
    connection.execute(delete(schema.adopted).where(*vouched))


def _let_refused_be_read_again(connection: Connection, table: str, property_name: str) -> None:
    """Rows that these vectors alone kept away: their records may lag behind, or were never made."""
    rejects, records = schema.reject.c, schema.ledger.c
    refused = (rejects.table_name == table) & (rejects.stage == "embed") & (rejects.column == property_name)
    keys = select(rejects.key).where(refused)
    if connection.execute(keys.limit(1)).first() is None:
        return
    lagging = (records.table_name == table) & records.key.in_(keys)
    connection.execute(update(schema.ledger).where(lagging).values(hash=UNSETTLED))
    swept = schema.sync.c.table_name == table
    connection.execute(update(schema.sync).where(swept).values(swept_at=None, swept_rows=None, swept_checksum=None))
    connection.execute(delete(schema.reject).where(refused))


def forget_scope_of(connection: Connection, table: str, property_name: str) -> None:
    """What the scope says of the vectors under one property."""
    field = schema.scope.c.field
    here = field.startswith(carrier_prefix(table, property_name), autoescape=True)
    connection.execute(delete(schema.scope).where(here))


def label_of(fields: Mapping[str, Any], table: str) -> str | None:
    """The label under which the state knows a table; None when it does not."""
    label: str | None = fields.get(f"tables[{table}].label")
    return label


def embedded_properties(fields: Mapping[str, Any], table: str) -> dict[str, bool]:
    """Embedding property of a table, as the state knows it -> whether its records carry a spare one."""
    pattern = re.compile(re.escape(f"tables[{table}].embeddings[") + r"(.+)\]\.spare")
    found = ((pattern.fullmatch(field), value) for field, value in fields.items())
    return {match[1]: bool(value) for match, value in found if match}


def _forget_reports(connection: Connection, table: str) -> None:
    """A report is about records that are gone; `sync --repair last` must not go by it."""
    for row in connection.execute(select(schema.report)).all():
        if any(part.get("table") == table for part in row.content.get("tables", ())):
            connection.execute(delete(schema.report).where(schema.report.c.command == row.command))


def _forget_links(connection: Connection, table: str) -> None:
    """Those that lead from here; of those that lead here the journal has said, record by record, that none stands."""
    columns = schema.link.c
    links = list(connection.execute(select(columns.id).where(columns.source_table == table)).scalars())
    connection.execute(delete(schema.edge).where(schema.edge.c.link.in_(links)))
    connection.execute(delete(schema.link).where(columns.id.in_(links)))


def _forget_scope(connection: Connection, table: str) -> None:
    fields = list(connection.execute(select(schema.scope.c.field)).scalars())
    gone = [field for field in fields if field.startswith(f"tables[{table}].")]
    if not any(field.startswith("tables[") for field in fields if field not in gone):
        gone += [field for field in fields if field not in gone and field != KEPT_PLACE]
    for field in gone:
        connection.execute(delete(schema.scope).where(schema.scope.c.field == field))
