"""PostgreSQL, read only: sessions, the catalogue, key ranges and pages, values."""

from __future__ import annotations

from byov_migrate.source.catalog import SourceIdentity, describe_table, snapshot, source_identity
from byov_migrate.source.ranges import RangePlan
from byov_migrate.source.reader import TableReader, open_table
from byov_migrate.source.session import Session, connect
from byov_migrate.source.shape import TableShape

__all__ = [
    "RangePlan",
    "Session",
    "SourceIdentity",
    "TableReader",
    "TableShape",
    "connect",
    "describe_table",
    "open_table",
    "snapshot",
    "source_identity",
]
