"""What the jobs hold in their hands: one table, read in every way they need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from byov_migrate.config import TableConfig
from byov_migrate.digests import Digests
from byov_migrate.records import KeyRange, KeyText, Page, Rejected, Row
from byov_migrate.source import pages, ranges
from byov_migrate.source.catalog import describe_table
from byov_migrate.source.changes import Changes, open_changes
from byov_migrate.source.circumstances import read_circumstances
from byov_migrate.source.conditions import selection
from byov_migrate.source.cursor import Cursor
from byov_migrate.source.keys import parse_key
from byov_migrate.source.links import LinkShape
from byov_migrate.source.rows import RowReader, row_reader
from byov_migrate.source.session import Session
from byov_migrate.source.shape import Column, TableShape
from byov_migrate.source.statements import Condition, all_of, listed, name
from byov_migrate.source.strategy import NoStrategy, Strategy, choose
from byov_migrate.source.vectors import declared_dimension, usual_dimension, vector_decoder

SAMPLE_ROWS = 100


@dataclass(frozen=True, slots=True)
class TableReader:
    """Reads one table. Every call is a transaction of its own, or several; none is open between two pages."""

    session: Session
    table: TableConfig
    rows_reader: RowReader

    @property
    def shape(self) -> TableShape:
        """The table as it was when the reader was made."""
        return self.rows_reader.shape

    @property
    def dimensions(self) -> tuple[int | None, ...]:
        """Of each embedding's ready vectors; None for embeddings of text, and where no row has a vector."""
        return self.rows_reader.dimensions

    @property
    def links(self) -> tuple[LinkShape, ...]:
        """The links that rows carry."""
        return self.rows_reader.links

    def plan_ranges(self, rows_per_range: int = ranges.ROWS_PER_RANGE) -> ranges.RangePlan:
        """See `ranges.plan_ranges`."""
        return ranges.plan_ranges(self.session, self.shape, self.table, rows_per_range)

    def pages(self, key_range: KeyRange, page_rows: int) -> Iterator[Page]:
        """See `pages.read_pages`."""
        return pages.read_pages(self.session, self.rows_reader, self.table, key_range, page_rows)

    def rows(self, keys: Sequence[KeyText]) -> list[Row | Rejected]:
        """See `pages.read_rows`."""
        return pages.read_rows(self.session, self.rows_reader, self.table, keys)

    def texts(self, keys: Sequence[KeyText]) -> dict[str, tuple[str | None, ...]]:
        """See `pages.read_texts`."""
        return pages.read_texts(self.session, self.rows_reader, self.table, keys)

    def count(self) -> int:
        """See `pages.count_rows`."""
        return pages.count_rows(self.session, self.shape, self.table)

    def strategy(self, cursor: Cursor | None, rows: int) -> Strategy | NoStrategy:
        """See `strategy.choose`; `rows` is how many rows the table has, near enough."""
        circumstances = read_circumstances(self.session, self.shape, self.table)
        return choose(self.shape, self.table, circumstances, cursor, rows)

    def changes(self, strategy: Strategy | None, since: Cursor | None) -> AbstractContextManager[Changes]:
        """See `changes.open_changes`."""
        return open_changes(self.session, self.shape, self.table, strategy, since)

    def position_of(self, canonical: str) -> KeyText | None:
        """The key that a `byovKey` stands for; None when it is none of this table's, or was hashed."""
        if self.table.hash_key_values:
            return None
        return parse_key([column.base for column in self.shape.key], canonical)


def open_table(
    session: Session,
    table: TableConfig,
    digests: Digests,
    index: int = 0,
    dimensions: Sequence[int | None] | None = None,
    links: Sequence[LinkShape] = (),
) -> TableReader:
    """Describe a table and make its reader; `index` is its place in the configuration.

    dimensions: of each embedding's ready vectors, as an earlier run stored them; found in the table when not given.
    links: all of the configuration; the rows get the keys of those that they carry.
    Raise what `catalog.describe_table` raises.
    """
    shape = describe_table(session, table, index)
    known = vector_dimensions(session, shape, table) if dimensions is None else tuple(dimensions)
    return TableReader(session, table, row_reader(shape, table, digests, known, links))


def vector_dimensions(session: Session, shape: TableShape, table: TableConfig) -> tuple[int | None, ...]:
    """What the type declares, else the commonest among the first vectors in key order; None for embeddings of text."""
    columns = [shape.columns[embedding.vector] if embedding.vector else None for embedding in table.embeddings]
    return tuple(_dimension(session, shape, table, column) if column else None for column in columns)


def _dimension(session: Session, shape: TableShape, table: TableConfig, column: Column) -> int | None:
    if declared := declared_dimension(column):
        return declared
    present = Condition(sql.SQL("{} IS NOT NULL").format(name(column.name)))
    condition = all_of([selection(shape, table), present])
    query = sql.SQL("SELECT {}({}) FROM {} WHERE {} ORDER BY {} LIMIT {}").format(
        name(*column.send),
        name(column.name),
        shape.from_item,
        condition.text,
        listed(shape.key_identifiers),
        sql.Literal(SAMPLE_ROWS),
    )
    with session.transaction() as transaction:
        found: list[tuple[Any, ...]] = transaction.fetch(query, condition.parameters)
    return usual_dimension([vector_decoder(column)(row[0]) for row in found])
