"""PostgreSQL, read only: sessions, the catalogue, key ranges and pages, values."""

from __future__ import annotations

from byov_migrate.source.catalog import SourceIdentity, describe_table, snapshot, source_identity
from byov_migrate.source.changes import Changes, KeySum
from byov_migrate.source.cursor import Cursor
from byov_migrate.source.links import Carried, LinkEnd, LinkShape, Paired, describe_links
from byov_migrate.source.pairs import Pair, PairReader, PairSum, open_links
from byov_migrate.source.ranges import RangePlan
from byov_migrate.source.reader import TableReader, open_table
from byov_migrate.source.replica import replay_gap, went_back
from byov_migrate.source.session import Session, connect
from byov_migrate.source.shape import TableShape
from byov_migrate.source.strategy import NoStrategy, Strategy

__all__ = [
    "Carried",
    "Changes",
    "Cursor",
    "KeySum",
    "LinkEnd",
    "LinkShape",
    "NoStrategy",
    "Pair",
    "PairReader",
    "PairSum",
    "Paired",
    "RangePlan",
    "Session",
    "SourceIdentity",
    "Strategy",
    "TableReader",
    "TableShape",
    "connect",
    "describe_links",
    "describe_table",
    "open_links",
    "open_table",
    "replay_gap",
    "snapshot",
    "source_identity",
    "went_back",
]
