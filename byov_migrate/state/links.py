"""The links of a migration: which there are, which of them stand in RushDB, and which lead to no record.

source tells of an edge  ──►  loose  ──►  linked, proved in RushDB
                                ▲              │
                                └──────────────┘  one of its ends was written anew
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    String,
    and_,
    bindparam,
    delete,
    exists,
    func,
    inspect,
    select,
    update,
)

from byov_migrate.records import LinkEnd
from byov_migrate.state import schema
from byov_migrate.state.edge_queries import SOURCES, TARGETS, Edge, edge_of, edges_between, with_ends, with_source
from byov_migrate.state.edges import loosen_around
from byov_migrate.state.ledger import UNSETTLED
from byov_migrate.state.store import KEYS_A_QUERY, Store, portions, replacing

_IS_SETTLED = SOURCES.c.hash != UNSETTLED
"""Of a record whose last write was never proved nobody knows what it holds: it is linked once it was written again."""
WRITTEN_AT_ONCE = 5000
STALE = -1
"""Stands in `seen` for an edge that the last reading did not tell of."""


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One link of the configuration. carried: by the source's rows; else its pairs are read by a query."""

    name: str
    type: str
    source_table: str
    target_table: str
    carried: bool


@dataclass(frozen=True, slots=True)
class LinkCounts:
    """edges: implied by the source, of records that are there. linked: proved. dangling: lead to no record."""

    edges: int
    linked: int
    dangling: int


class Links:
    """What is known of links; `edges` changes with the records, in the journal's transactions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def register(self, links: Sequence[LinkRow]) -> None:
        """Know of these links from now on; what is known of others stays."""
        table = schema.link
        with self._store.writing() as connection:
            known = set(connection.execute(select(table.c.name)).scalars())
            for link in links:
                values = {name: getattr(link, name) for name in LinkRow.__slots__}
                if link.name not in known:
                    connection.execute(table.insert().values(**values))

    def rows(self, source_table: str) -> list[LinkRow]:
        """The links that lead from a table."""
        columns = schema.link.c
        query = select(*(columns[name] for name in LinkRow.__slots__)).where(columns.source_table == source_table)
        with self._store.reading() as connection:
            return [LinkRow(*row) for row in connection.execute(query.order_by(columns.id))]

    def forget(self, name: str) -> None:
        """Nothing is known of a link any more: none of it is left in RushDB."""
        link = self._link(name)
        with self._store.writing() as connection:
            connection.execute(delete(schema.edge).where(schema.edge.c.link == link.id))
            connection.execute(delete(schema.link).where(schema.link.c.id == link.id))

    def edges(self, name: str) -> list[Edge]:
        """All edges between stored records, those from one source together."""
        edge, link = schema.edge.c, self._link(name)
        query = self._edges(link).order_by(edge.source_key)
        with self._store.reading() as connection:
            return [edge_of(row) for row in connection.execute(query)]

    def names(self) -> list[str]:
        """Of every link, in the order in which they came."""
        with self._store.reading() as connection:
            if not inspect(connection).has_table(schema.link.name):
                return []  # an older state that is only looked at
            return list(connection.execute(select(schema.link.c.name).order_by(schema.link.c.id)).scalars())

    def counts(self, name: str) -> LinkCounts:
        """Of one link."""
        edge, link = schema.edge.c, self._link(name)
        here = edge.link == link.id
        both = select(func.count(), func.count().filter(edge.linked)).select_from(with_ends(link)).where(here)
        dangling = select(func.count()).select_from(with_source(link)).where(here, TARGETS.c.key.is_(None))
        with self._store.reading() as connection:
            edges, linked = connection.execute(both).one()
            lost = connection.execute(dangling).scalar_one()
        return LinkCounts(int(edges), int(linked), int(lost))

    def dangling(self, name: str, limit: int) -> list[tuple[str, str]]:
        """Source and target keys of links that lead to no record."""
        edge, link = schema.edge.c, self._link(name)
        query = select(edge.source_key, edge.target_key).select_from(with_source(link))
        query = query.where(edge.link == link.id, TARGETS.c.key.is_(None)).limit(limit)
        with self._store.reading() as connection:
            return [(row.source_key, row.target_key) for row in connection.execute(query)]

    def loose_by_batch(self, name: str) -> dict[str, tuple[int, int]]:
        """Batch of the source's records -> loose edges, and records that have any edge between stored records."""
        edge, link = schema.edge.c, self._link(name)
        loose = select(SOURCES.c.batch, func.count()).select_from(with_ends(link))
        loose = loose.where(edge.link == link.id, edge.linked.is_(False), _IS_SETTLED).group_by(SOURCES.c.batch)
        with self._store.reading() as connection:
            counted = {row[0]: int(row[1]) for row in connection.execute(loose)}
            found = {}
            for some in portions(counted, KEYS_A_QUERY):
                records = select(SOURCES.c.batch, func.count(edge.source_key.distinct()))
                records = records.select_from(with_ends(link))
                records = records.where(edge.link == link.id, SOURCES.c.batch.in_(some), _IS_SETTLED)
                found.update({row[0]: int(row[1]) for row in connection.execute(records.group_by(SOURCES.c.batch))})
        return {batch: (count, found[batch]) for batch, count in counted.items()}

    def loose_targets(self, name: str, limit: int) -> list[str] | None:
        """Keys of stored targets that loose edges of stored sources lead to; None when there are more than `limit`."""
        edge, link = schema.edge.c, self._link(name)
        query = select(edge.target_key).distinct().select_from(with_ends(link))
        query = query.where(edge.link == link.id, edge.linked.is_(False), _IS_SETTLED).limit(limit + 1)
        with self._store.reading() as connection:
            found = list(connection.execute(query).scalars())
        return found if len(found) <= limit else None

    def mark_batches(self, name: str, batches: Sequence[str]) -> None:
        """The links from the records of these batches stand."""
        self._mark(self._link(name), SOURCES.c.batch.in_(list(batches)))

    def mark_targets(self, name: str, keys: Sequence[str]) -> None:
        """The links to these records stand."""
        self._mark(self._link(name), schema.edge.c.target_key.in_(list(keys)))

    def _mark(self, link: Row[Any], chosen: ColumnElement[bool]) -> None:
        """Of links between stored records, each looked up by its keys: in lists of keys it would be searched for."""
        edge = schema.edge.c
        source = and_(SOURCES.c.table_name == link.source_table, SOURCES.c.key == edge.source_key, _IS_SETTLED)
        source = and_(source, chosen)
        target = and_(TARGETS.c.table_name == link.target_table, TARGETS.c.key == edge.target_key)
        here = and_(edge.link == link.id, edge.linked.is_(False), exists().where(source), exists().where(target))
        with self._store.writing() as connection:
            connection.execute(update(schema.edge).where(here).values(linked=True))

    def mark_edges(self, name: str, edges: Sequence[Edge]) -> None:
        """These links stand."""
        link = self._link(name)
        edge = schema.edge.c
        ends = (
            edge.source_key == bindparam("source", type_=String),
            edge.target_key == bindparam("target", type_=String),
        )
        here = and_(edge.link == link.id, *ends)
        pairs = [{"source": item.source.key, "target": item.target.key} for item in edges]
        if pairs:
            with self._store.writing() as connection:
                connection.execute(update(schema.edge).where(here).values(linked=True), pairs)

    def has_loose(self, name: str) -> bool:
        """Whether there is a loose edge between stored records."""
        edge, link = schema.edge.c, self._link(name)
        query = select(edge.link).select_from(with_ends(link)).where(edge.link == link.id, edge.linked.is_(False))
        with self._store.reading() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def loose_ends(self, name: str) -> tuple[int, int]:
        """How many records loose edges between stored records lead from, and to how many."""
        edge, link = schema.edge.c, self._link(name)
        query = select(func.count(edge.source_key.distinct()), func.count(edge.target_key.distinct()))
        query = query.select_from(with_ends(link)).where(edge.link == link.id, edge.linked.is_(False))
        with self._store.reading() as connection:
            sources, targets = connection.execute(query).one()
        return sources, targets

    def loose(
        self, name: str, *, batch: str | None = None, by: LinkEnd = "target", limit: int | None = None
    ) -> list[Edge]:
        """Loose edges between stored records, those of one target, or source, together. batch: of the sources."""
        edge, link = schema.edge.c, self._link(name)
        query = (
            self._edges(link)
            .where(edge.linked.is_(False))
            .order_by(edge.source_key if by == "source" else edge.target_key, "mutual")
        )
        query = query.where(SOURCES.c.batch == batch) if batch is not None else query
        with self._store.reading() as connection:
            return [edge_of(row) for row in connection.execute(query.limit(limit))]

    def are_loose(self, name: str, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Edge]:
        """Those of these pairs that are loose edges between stored records."""
        edge, link = schema.edge.c, self._link(name)
        sources = list({source for source, _ in pairs})
        wanted, found = set(pairs), {}
        with self._store.reading() as connection:
            for some in portions(sources, KEYS_A_QUERY):
                query = self._edges(link).where(edge.linked.is_(False), edge.source_key.in_(some))
                for row in connection.execute(query):
                    if (row[0], row[1]) in wanted:
                        found[row[0], row[1]] = edge_of(row)
        return found

    def pair_sum(self, name: str) -> tuple[int, str] | None:
        """What the source's pairs came to when they were last read to their end."""
        link = self._link(name)
        return None if link.checksum is None else (link.pairs, link.checksum)

    def read_pairs(self, name: str, pairs: Iterable[tuple[str, str, str]]) -> None:
        """Take over all pairs (source key, target key, mark) of the source; what it does not tell of is out of date.

        Those that are new, or whose properties changed, are loose.
        """
        link = self._link(name)
        with self._store.reading() as connection:
            newest = connection.execute(select(func.max(schema.edge.c.seen)).where(schema.edge.c.link == link.id))
            number = (newest.scalar_one() or 0) + 1
        for some in portions(pairs, WRITTEN_AT_ONCE):
            self._see(link.id, number, {(source, target): mark for source, target, mark in some})
        with self._store.writing() as connection:
            edge = schema.edge.c
            stale = and_(edge.link == link.id, edge.seen != number)
            connection.execute(update(schema.edge).where(stale).values(seen=STALE, linked=False))
            # Until all of them are gone nobody knows what the source told last: it is read again.
            unknown = {"pairs": None, "checksum": None}
            connection.execute(update(schema.link).where(schema.link.c.id == link.id).values(**unknown))

    def _see(self, link: int, number: int, pairs: Mapping[tuple[str, str], str]) -> None:
        edge = schema.edge.c
        with self._store.writing() as connection:
            known: dict[tuple[str, str], tuple[str, bool]] = {}
            for some in portions(sorted({source for source, _ in pairs}), KEYS_A_QUERY):
                query = select(edge.source_key, edge.target_key, edge.mark, edge.linked)
                query = query.where(edge.link == link, edge.source_key.in_(some))
                known.update({(row[0], row[1]): (row[2], row[3]) for row in connection.execute(query)})
            rows = [
                {
                    "link": link,
                    "source_key": source,
                    "target_key": target,
                    "mark": mark,
                    "linked": known.get((source, target)) == (mark, True),
                    "seen": number,
                }
                for (source, target), mark in pairs.items()
            ]
            connection.execute(replacing(schema.edge), rows)

    def out_of_date(self, name: str) -> list[Edge]:
        """Edges between stored records that the source does not tell of any more."""
        edge, link = schema.edge.c, self._link(name)
        query = self._edges(link).where(edge.seen == STALE)
        with self._store.reading() as connection:
            return [edge_of(row) for row in connection.execute(query.order_by(edge.source_key))]

    def settle_pairs(self, name: str, pairs: int, checksum: str) -> None:
        """The pairs that came to this sum are linked, and links that are out of date are gone."""
        link = self._link(name)
        with self._store.writing() as connection:
            gone = and_(schema.edge.c.link == link.id, schema.edge.c.seen == STALE)
            connection.execute(delete(schema.edge).where(gone))
            values = {"pairs": pairs, "checksum": checksum}
            connection.execute(update(schema.link).where(schema.link.c.id == link.id).values(**values))

    def loosen(self, table: str, keys: Sequence[str]) -> None:
        """No link from or to the records of these keys is known to stand."""
        with self._store.writing() as connection:
            loosen_around(connection, table, keys)

    def loosen_link(self, name: str) -> None:
        """None of the links of this name is known to stand."""
        link = self._link(name)
        with self._store.writing() as connection:
            connection.execute(update(schema.edge).where(schema.edge.c.link == link.id).values(linked=False))

    def count_sources(self, name: str, targets: Sequence[str]) -> int:
        """How many stored records lead to these."""
        edge, link = schema.edge.c, self._link(name)
        query = select(func.count(edge.source_key.distinct())).select_from(with_ends(link))
        query = query.where(edge.link == link.id, edge.target_key.in_(list(targets)), _IS_SETTLED)
        with self._store.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def begin_calls(self) -> None:
        """From now on requests about links may be under way."""
        with self._store.writing() as connection:
            connection.execute(update(schema.link).values(called_at=self._store.clock()))

    def end_calls(self) -> None:
        """None is under way any more."""
        with self._store.writing() as connection:
            connection.execute(update(schema.link).values(called_at=None))

    def called_at(self) -> float | None:
        """Since when a request of a run that was killed may be under way, in seconds since 1970."""
        with self._store.reading() as connection:
            found: float | None = connection.execute(select(func.max(schema.link.c.called_at))).scalar_one()
        return found

    def _edges(self, link: Row[Any]) -> Select[Any]:
        """Edges between stored records. Those that lead back may be of another link of the type."""
        columns = schema.link.c
        backwards = (columns.source_table == link.target_table, columns.target_table == link.source_table)
        query = select(columns.id).where(columns.type == link.type, *backwards)
        with self._store.reading() as connection:
            return edges_between(link, list(connection.execute(query).scalars()))

    def _link(self, name: str) -> Row[Any]:
        with self._store.reading() as connection:
            return connection.execute(select(schema.link).where(schema.link.c.name == name)).one()
