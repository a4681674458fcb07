"""Queries for edges with the records at their ends, and what they answer with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Join, Row, Select, and_, exists, false, select

from byov_migrate.records import LinkEnd
from byov_migrate.state import schema

SOURCES = schema.ledger.alias("sources")
TARGETS = schema.ledger.alias("targets")


class End(NamedTuple):
    """A record at one end of a link."""

    key: str
    record_id: str


@dataclass(frozen=True, slots=True)
class Edge:
    """A link between two stored records. mutual: a link of the same type leads back, or is to."""

    source: End
    target: End
    mutual: bool

    def end(self, which: LinkEnd) -> End:
        """One of the two."""
        return self.source if which == "source" else self.target


def edges_between(link: Row[Any], opposite: Sequence[int]) -> Select[Any]:
    """Edges of a link between stored records, as `edge_of` reads them. opposite: links that may lead back."""
    ends = (schema.edge.c.source_key, schema.edge.c.target_key, SOURCES.c.record_id, TARGETS.c.record_id)
    query = select(*ends, _leads_back(link, opposite).label("mutual")).select_from(with_ends(link))
    return query.where(schema.edge.c.link == link.id)


def edge_of(row: Sequence[Any]) -> Edge:
    """A row of `edges_between`."""
    return Edge(End(row[0], row[2]), End(row[1], row[3]), mutual=bool(row[4]))


def _leads_back(link: Row[Any], opposite: Sequence[int]) -> ColumnElement[bool]:
    """Whether an edge of these links joins the same two records the other way; a record with itself is none."""
    if not opposite:
        return false()
    edge = schema.edge.c
    back = schema.edge.alias("back").c
    same = and_(back.link.in_(opposite), back.source_key == edge.target_key, back.target_key == edge.source_key)
    found = exists().where(same)
    return and_(edge.source_key != edge.target_key, found) if link.source_table == link.target_table else found


def with_source(link: Row[Any]) -> Join:
    """Edges whose source is stored, with their targets where these are."""
    source = and_(SOURCES.c.table_name == link.source_table, SOURCES.c.key == schema.edge.c.source_key)
    target = and_(TARGETS.c.table_name == link.target_table, TARGETS.c.key == schema.edge.c.target_key)
    return schema.edge.join(SOURCES, source).outerjoin(TARGETS, target)


def with_ends(link: Row[Any]) -> Join:
    """Edges both of whose ends are stored."""
    source = and_(SOURCES.c.table_name == link.source_table, SOURCES.c.key == schema.edge.c.source_key)
    target = and_(TARGETS.c.table_name == link.target_table, TARGETS.c.key == schema.edge.c.target_key)
    return schema.edge.join(SOURCES, source).join(TARGETS, target)
