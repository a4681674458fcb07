"""Columns of rows that were found, to be shown on this machine: any column that the role may read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from byov_migrate.digests import Digests
from byov_migrate.errors import ConfigurationError
from byov_migrate.records import Row
from byov_migrate.source import queries
from byov_migrate.source.catalog import describe_table
from byov_migrate.source.names import nearest
from byov_migrate.source.reader import TableReader
from byov_migrate.source.rows import row_reader


@dataclass(frozen=True, slots=True)
class Columns:
    """Named columns of one table."""

    names: tuple[str, ...]
    reader: TableReader

    def read(self, keys: Sequence[str]) -> dict[str, dict[str, str | None]]:
        """`byovKey` -> column -> PostgreSQL's text, None for NULL; rows that are gone are absent."""
        positions = [position for key in keys if (position := self.reader.position_of(key)) is not None]
        return {row.key: self._texts(row) for row in self.reader.rows(positions) if isinstance(row, Row)}

    def _texts(self, row: Row) -> dict[str, str | None]:
        values = {name: row.properties.get(name) for name in self.names}
        return {name: None if value is None else str(value) for name, value in values.items()}


def open_columns(reader: TableReader, names: Sequence[str], digests: Digests) -> Columns:
    """Check the columns, without reading a row.

    Raise ConfigurationError for a column that is not there or where keys are hashed, CredentialsRefused for one that
    the role may not read.
    """
    table = reader.table
    if table.hash_key_values:
        raise ConfigurationError(f"--show: the keys of {table.name} are sent as hashes, which lead to no row")
    with reader.session.transaction() as transaction:
        known = [row[0] for row in transaction.fetch(queries.COLUMNS, (reader.shape.oid,))]
    for name in names:
        if name not in known:
            raise ConfigurationError(f"--show: {table.name} has no column {name!r}{nearest(name, known)}")
    # The table as it would be if it sent these columns, each as PostgreSQL's text.
    as_sent = {"columns": tuple(names), "rename": {}, "types": dict.fromkeys(names, "text"), "embeddings": ()}
    shown = table.model_copy(update=as_sent)
    shape = describe_table(reader.session, shown)
    return Columns(tuple(names), TableReader(reader.session, shown, row_reader(shape, shown, digests)))
