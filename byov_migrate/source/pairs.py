"""Pairs of keys that a query tells: rows of a join table, or rows of two tables with equal values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql

from byov_migrate.config import Config
from byov_migrate.digests import Digests
from byov_migrate.errors import ConfigurationError
from byov_migrate.records import Outgoing
from byov_migrate.source.conditions import selected_by
from byov_migrate.source.faults import translated
from byov_migrate.source.links import LinkEnd, LinkShape, Paired, describe_links
from byov_migrate.source.session import Session, Transaction
from byov_migrate.source.shape import Column
from byov_migrate.source.statements import listed, name, type_name
from byov_migrate.source.values import Unfit, ValueReader, value_reader


@dataclass(frozen=True, slots=True)
class Pair:
    """A link that the source implies. mark: keyed hash of its properties, empty without any."""

    source: str
    target: str
    properties: Mapping[str, Outgoing]
    mark: str


@dataclass(frozen=True, slots=True)
class PairSum:
    """All pairs of a link: how many, and a sum that is the same in whatever order they are read."""

    pairs: int
    checksum: str


@dataclass(frozen=True)
class PairReader:
    """Reads the pairs of one link. Every call is a transaction of its own."""

    session: Session
    link: LinkShape
    way: Paired
    digests: Digests

    @contextmanager
    def reading(self) -> Iterator[tuple[PairSum, Iterator[Pair]]]:
        """The sum of all pairs and the pairs themselves, of one snapshot.

        In no order, with bounded memory. Raise ConfigurationError where a value can be no property of a link.
        """
        with (
            self.session.transaction("repeatable read", statement_timeout_s=0) as transaction,
            translated(self.session.address),
        ):
            yield self._sum(transaction), map(self._pair, transaction.stream(self._query))

    def pairs(self) -> Iterator[Pair]:
        """Every pair; see `reading`."""
        with self.reading() as (_, pairs):
            yield from pairs

    def sum(self) -> PairSum:
        """In one scan: whether anything changed."""
        with self.session.transaction(statement_timeout_s=0) as transaction:
            return self._sum(transaction)

    def check(self) -> None:
        """Raise ConfigurationError when PostgreSQL cannot compare or convert the columns; no row is read."""
        query = sql.SQL("SELECT 1 FROM ({}) AS byov_pairs LIMIT 0").format(self._query)
        with self.session.transaction() as transaction:
            try:
                with transaction.attempt():
                    transaction.fetch(query)
            except (psycopg.errors.UndefinedFunction, psycopg.errors.CannotCoerce, psycopg.DataError) as error:
                columns = ", ".join(column.name for column in (*self.way.source_columns, *self.way.target_columns))
                raise ConfigurationError(
                    f"{self.link.path}: the columns {columns} cannot be compared with each other or with the keys"
                ) from error

    def _sum(self, transaction: Transaction) -> PairSum:
        query = sql.SQL(
            'SELECT count(*), coalesce(sum(hashtextextended((byov_pairs.*)::text COLLATE "C", 0)), 0)::text'
            " FROM ({}) AS byov_pairs"
        ).format(self._query)
        pairs, checksum = transaction.fetch(query)[0]
        return PairSum(int(pairs), checksum)

    def _pair(self, row: tuple[Any, ...]) -> Pair:
        width = len(self.link.source.shape.key)
        end = width + len(self.link.target.shape.key)
        properties = self._properties(row[end:])
        return Pair(
            self.link.source.key(row[:width], self.digests),
            self.link.target.key(row[width:end], self.digests),
            properties,
            self.digests.record_hash(properties) if properties else "",
        )

    @cached_property
    def _readers(self) -> list[ValueReader]:
        return [value_reader(column, None) for column in self.way.properties]

    def _properties(self, selected: Sequence[object]) -> dict[str, Outgoing]:
        found: dict[str, Outgoing] = {}
        for reader, value in zip(self._readers, selected, strict=True):
            if value is None:
                continue
            read = reader.read(value)  # type: ignore[arg-type]  # text, or elements, as selected
            if isinstance(read, Unfit):
                raise ConfigurationError(
                    f"{self.link.path}.properties: a value of {self.way.schema}.{self.way.relation}.{reader.column}"
                    f" cannot be kept in RushDB ({read.reason}); take the column out"
                )
            found[reader.column] = read
        return found

    @cached_property
    def _query(self) -> sql.Composed:
        return self._joined() if self.way.oid is None else self._through()

    def _through(self) -> sql.Composed:
        way = self.way
        keys = [*way.source_columns, *way.target_columns]
        types = [*self.link.source.shape.key, *self.link.target.shape.key]
        texts = [
            sql.SQL("{}::{}::text").format(name("byov", column.name), type_name(key.cast))
            for column, key in zip(keys, types, strict=True)
        ]
        fields = [
            (sql.SQL("{}::text[]") if reader.as_elements else sql.SQL("{}::text")).format(name("byov", reader.column))
            for reader in self._readers
        ]
        present = [sql.SQL("{} IS NOT NULL").format(name("byov", column.name)) for column in keys]
        places = [sql.Literal(number + 1) for number in range(len(texts) + len(fields))]
        # Of two rows for one pair with other properties one is the link's, always the same.
        once = sql.SQL("DISTINCT ON ({}) ").format(listed(places[: len(texts)])) if fields else sql.SQL("")
        order = sql.SQL(" ORDER BY {}").format(listed(places)) if fields else sql.SQL("")
        return sql.SQL("SELECT {}{} FROM {} AS byov WHERE {}{}").format(
            once, _numbered([*texts, *fields]), name(way.schema, way.relation), sql.SQL(" AND ").join(present), order
        )

    def _joined(self) -> sql.Composed:
        ours, theirs = (
            _side(self.link.source, self.way.source_columns),
            _side(self.link.target, self.way.target_columns),
        )
        keys = [
            *(name("byov_s", f"byov_key_{number}") for number in range(len(self.link.source.shape.key))),
            *(name("byov_t", f"byov_key_{number}") for number in range(len(self.link.target.shape.key))),
        ]
        equal = [
            sql.SQL("byov_s.{0} = byov_t.{0}").format(name(f"byov_join_{number}"))
            for number in range(len(self.way.source_columns))
        ]
        return sql.SQL("SELECT {} FROM ({}) AS byov_s JOIN ({}) AS byov_t ON {}").format(
            _numbered(keys), ours, theirs, sql.SQL(" AND ").join(equal)
        )


def _side(end: LinkEnd, columns: Sequence[Column]) -> sql.Composed:
    """The selected rows of one table: key as text, and what is compared."""
    shape = end.shape
    keys = [
        sql.SQL("{}::text AS {}").format(identifier, name(f"byov_key_{number}"))
        for number, identifier in enumerate(shape.key_identifiers)
    ]
    joins = [
        sql.SQL("{} AS {}").format(name("byov", column.name), name(f"byov_join_{number}"))
        for number, column in enumerate(columns)
    ]
    condition = sql.SQL("true") if shape.derived else selected_by(end.entry, shape.columns, written_out=True).text
    return sql.SQL("SELECT {} FROM {} WHERE {}").format(listed([*keys, *joins]), shape.from_item, condition)


def _numbered(expressions: Sequence[sql.Composable]) -> sql.Composed:
    """Each with a name of its own, so that the query can be a relation."""
    return listed(
        sql.SQL("{} AS {}").format(expression, name(f"byov_{number}")) for number, expression in enumerate(expressions)
    )


def open_links(session: Session, config: Config, digests: Digests) -> tuple[LinkShape, ...]:
    """Every link of the configuration, as the catalogue explains it. Raise ConfigurationError with what is wrong.

    Pairs that PostgreSQL could not read are found here, and not after everything else was moved.
    """
    links = describe_links(session, config)
    for link in links:
        if isinstance(link.way, Paired):
            PairReader(session, link, link.way, digests).check()
    return links
