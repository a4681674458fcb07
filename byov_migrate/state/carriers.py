"""Which property carries the vectors of an embedding, and what made them.

one     the usual case: the embedding's own property, or its spare one after a re-embedding was brought to its end
two     between `reembed` and `reembed drop`: the live vectors, and beside them those of another model or text
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, inspect, select, update

from byov_migrate.errors import Refused
from byov_migrate.state import schema
from byov_migrate.state.forgetting import forget_carrier, forget_scope_of, forget_vectors
from byov_migrate.state.scope import Applying, add_applying
from byov_migrate.state.store import Store, replacing


@dataclass(frozen=True, slots=True)
class Making:
    """How vectors are made. settings: of the model, as configured, where one makes them; fingerprint: of its files.

    vector: the column of ready ones. text: the template that the model reads; None for ready vectors.
    """

    model: str | None
    settings: Mapping[str, Any] | None
    text: str | None
    vector: str | None
    fingerprint: str | None

    def makes_the_same_as(self, other: Making) -> bool:
        """Whether both make the same vectors of a row, whatever the model is called and where it lies."""
        return (self.text, self.vector, self.fingerprint) == (other.text, other.vector, other.fingerprint)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.model if self.vector is None and self.model else f"column {self.vector}"


@dataclass(frozen=True, slots=True)
class Carrier:
    """The vectors of one embedding under one property.

    live: what searches ask. complete: once filled for every row there was. marked: `byovText_P` of the records speaks
    of these vectors. leaving: the index is being removed, nothing is kept current any more.
    """

    embedding: str
    property_name: str
    making: Making
    live: bool = True
    complete: bool = True
    marked: bool = True
    leaving: bool = False


class Carriers:
    """The carriers of a state, oldest first."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, table: str, embedding: str) -> list[Carrier]:
        """Those of one embedding that are kept current; empty before its first backfill."""
        return [item for item in self.all_of(table, embedding) if not item.leaving]

    def all_of(self, table: str, embedding: str) -> list[Carrier]:
        """Those of one embedding, one that is being removed included."""
        columns = schema.carrier.c
        query = select(schema.carrier).where(columns.table_name == table, columns.embedding == embedding)
        query = query.order_by(columns.begun_at, columns.property)
        with self._store.reading() as connection:
            if not inspect(connection).has_table(schema.carrier.name):
                return []  # an older state that is only looked at
            return [_carrier(dict(row)) for row in connection.execute(query).mappings()]

    def remember(self, table: str, embedding: str, property_name: str, making: Making) -> None:
        """How the vectors under a property are made, to be kept current when the configuration has moved on."""
        columns = schema.carrier.c
        here = (columns.table_name == table) & (columns.property == property_name)
        with self._store.reading() as connection:
            row = connection.execute(select(schema.carrier).where(here)).mappings().one_or_none()
        known = None if row is None else _making(dict(row))
        if known == making:
            return
        with self._store.writing() as connection:
            if known is not None:
                connection.execute(update(schema.carrier).where(here).values(**_columns(making)))
            else:
                _insert(connection, table, Carrier(embedding, property_name, making), self._store.clock())

    def begin(self, table: str, carrier: Carrier, fields: Mapping[str, Any]) -> None:
        """A second carrier beside the live one, still empty, and what the scope says of it."""
        with self._store.writing() as connection:
            forget_carrier(connection, table, carrier.property_name)
            _insert(connection, table, carrier, self._store.clock())
            for field, value in fields.items():
                connection.execute(replacing(schema.scope).values(field=field, value=value))

    def complete(self, table: str, property_name: str) -> None:
        """Every row there was has its vector here."""
        self._update(table, property_name, complete=True)

    def switch(self, table: str, embedding: str, to: str) -> None:
        """Let searches ask this carrier. From then on the records' marks speak of neither."""
        columns = schema.carrier.c
        here = (columns.table_name == table) & (columns.embedding == embedding)
        with self._store.writing() as connection:
            connection.execute(update(schema.carrier).where(here).values(live=columns.property == to, marked=False))

    def begin_refill(self, table: str, property_name: str) -> None:
        """The vectors under a property went with its index: every run fills it until no record lacks one."""
        with self._store.writing() as connection:
            forget_vectors(connection, table, property_name)
            add_applying(connection, table, Applying.refilling(property_name))

    def begin_drop(self, table: str, property_name: str) -> None:
        """Nothing is kept current there any more, and the scope does not ask for it: a kill afterwards stops nobody."""
        columns = schema.carrier.c
        here = (columns.table_name == table) & (columns.property == property_name)
        with self._store.writing() as connection:
            connection.execute(update(schema.carrier).where(here).values(leaving=True))
            forget_scope_of(connection, table, property_name)

    def end_drop(self, table: str, carrier: Carrier) -> None:
        """Forget everything of a carrier whose index is gone."""
        with self._store.writing() as connection:
            forget_carrier(connection, table, carrier.property_name)

    def _update(self, table: str, property_name: str, **values: Any) -> None:
        columns = schema.carrier.c
        here = (columns.table_name == table) & (columns.property == property_name)
        with self._store.writing() as connection:
            connection.execute(update(schema.carrier).where(here).values(**values))


def live_one(carriers: list[Carrier]) -> Carrier:
    """The carrier that searches ask. Raise Refused when the state knows none."""
    for carrier in carriers:
        if carrier.live:
            return carrier
    raise Refused("the state knows no vectors of this embedding", next_step="byov-migrate backfill")


def _insert(connection: Connection, table: str, carrier: Carrier, now: float) -> None:
    values = {name: getattr(carrier, name) for name in ("embedding", "live", "complete", "marked", "leaving")}
    latest = connection.execute(select(func.max(schema.carrier.c.begun_at))).scalar_one()
    begun_at = now if latest is None else max(now, latest + 1)  # a clock may be set back; the order must stand
    here = {"table_name": table, "property": carrier.property_name, "begun_at": begun_at}
    connection.execute(insert(schema.carrier).values(**here, **values, **_columns(carrier.making)))


def _columns(making: Making) -> dict[str, Any]:
    return asdict(making)


def _making(row: Mapping[str, Any]) -> Making:
    return Making(row["model"], row["settings"], row["text"], row["vector"], row["fingerprint"])


def _carrier(row: Mapping[str, Any]) -> Carrier:
    flags = {name: row[name] for name in ("live", "complete", "marked", "leaving")}
    return Carrier(row["embedding"], row["property"], _making(row), **flags)
