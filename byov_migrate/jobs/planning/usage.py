"""What RushDB Cloud counts, beside what its plans hold. Estimates: the price list is theirs and may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from psycopg import sql

from byov_migrate.config import Config, LinkConfig
from byov_migrate.source import TableReader
from byov_migrate.source.conditions import selection
from byov_migrate.source.statements import column_of_row

UNITS_A_RECORD = 10
HOLDS: Mapping[str, int] = {"Free": 100_000, "Pro": 10_000_000}
"""Units a month."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Records (nodes among them), links and vectors, and the units they are thought to cost once.

    holds: units a month, by plan. What vectors and links cost beside that is not published.
    """

    records: int
    nodes: int
    links: int
    vectors: int
    units: int
    holds: Mapping[str, int] = field(default_factory=lambda: dict(HOLDS))


def usage(config: Config, readers: Sequence[TableReader], rows: Sequence[int], vectors: float) -> Usage:
    """rows: of each table, in the order of the configuration."""
    by_name = dict(zip((table.name for table in config.tables), readers, strict=True))
    nodes = sum(_distinct(by_name[item.table], item.column) for item in config.nodes if item.table in by_name)
    by_label = dict(zip((table.label for table in config.tables), rows, strict=True))
    links = sum(by_label.get(_from(link), 0) for link in config.links)
    records = sum(rows) + nodes
    return Usage(records, nodes, links, round(vectors), (records) * UNITS_A_RECORD)


def _from(link: LinkConfig) -> str:
    """The label whose rows have a link each, at most; a link by foreign key counts none."""
    return (link.source or "").partition(".")[0]


def _distinct(reader: TableReader, column: str) -> int:
    chosen = selection(reader.shape, reader.table)
    query = sql.SQL("SELECT count(DISTINCT {}::text) FROM {} WHERE {}").format(
        column_of_row(column), reader.shape.from_item, chosen.text
    )
    with reader.session.transaction(statement_timeout_s=0) as transaction:
        return int(transaction.fetch(query, chosen.parameters)[0][0])
