"""The plan: consecutive key ranges, cut by the database in its own order, open at both ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from psycopg import sql

from byov_migrate.config import TableConfig
from byov_migrate.errors import ConfigurationError
from byov_migrate.records import KeyText
from byov_migrate.source.activity import read_activity
from byov_migrate.source.catalog import check_unchanged
from byov_migrate.source.conditions import selection
from byov_migrate.source.cursor import Cursor, read_cursor
from byov_migrate.source.session import Session, Transaction
from byov_migrate.source.shape import TableShape
from byov_migrate.source.statements import Condition, listed
from byov_migrate.source.unchanged import check_as_read

ROWS_PER_RANGE = 10_000


@dataclass(frozen=True, slots=True)
class RangePlan:
    """`boundaries` in key order: each is the last key of its range and lies outside the next.

    `cursor` is the state of the source that was counted; a first sync starts from it.
    """

    boundaries: tuple[KeyText, ...]
    rows: int
    cursor: Cursor

    @property
    def snapshot(self) -> str:
        """The text of `pg_current_snapshot()`."""
        return self.cursor.snapshot

    @property
    def ranges(self) -> list[tuple[KeyText | None, KeyText | None]]:
        """(lower, upper) of each range; the first is open below and the last open above."""
        edges = [None, *self.boundaries, None]
        return list(pairwise(edges))


def plan_ranges(
    session: Session, shape: TableShape, table: TableConfig, rows_per_range: int = ROWS_PER_RANGE
) -> RangePlan:
    """Cut the selected rows after every `rows_per_range`-th, and count them, in one snapshot and one pass.

    Raise ConfigurationError when the key of a view is not unique or not NOT NULL.
    """
    chosen = selection(shape, table)
    activity = read_activity(session)
    with session.transaction("repeatable read", statement_timeout_s=0) as transaction:
        cursor = read_cursor(transaction, activity, None)
        if not shape.proven:
            _prove_key(transaction, shape, chosen)
        found = _cuts(transaction, shape, chosen, rows_per_range)
        check_as_read(transaction, shape)
        check_unchanged(transaction, shape)
    rows = int(found[-1][-1]) if found else 0
    boundaries = tuple(tuple(row[:-1]) for row in found[:-1])
    return RangePlan(boundaries, rows, cursor)


def _cuts(transaction: Transaction, shape: TableShape, chosen: Condition, every: int) -> Sequence[tuple[str, ...]]:
    """Every n-th key and the last one, each with its number."""
    keys = listed(shape.key_identifiers)
    query = sql.SQL(
        "SELECT {texts}, byov_number FROM ("
        "SELECT {keys}, row_number() OVER byov_order AS byov_number, lead(1) OVER byov_order AS byov_next"
        " FROM {table} WHERE {condition} WINDOW byov_order AS (ORDER BY {keys})) AS byov"
        " WHERE byov_number %% {every} = 0 OR byov_next IS NULL ORDER BY byov_number"
    ).format(
        texts=listed(sql.SQL("{}::text").format(identifier) for identifier in shape.key_identifiers),
        keys=keys,
        table=shape.from_item,
        condition=chosen.text,
        every=sql.Literal(every),
    )
    return transaction.fetch(query, chosen.parameters)


def _prove_key(transaction: Transaction, shape: TableShape, chosen: Condition) -> None:
    keys = listed(shape.key_identifiers)
    query = sql.SQL(
        "SELECT count(*), count(DISTINCT ROW({keys})), count(*) FILTER (WHERE {null}) FROM {table} WHERE {condition}"
    ).format(
        keys=keys,
        null=sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(identifier) for identifier in shape.key_identifiers),
        table=shape.from_item,
        condition=chosen.text,
    )
    rows, distinct, null = transaction.fetch(query, chosen.parameters)[0]
    names = ", ".join(column.name for column in shape.key)
    if null:
        raise ConfigurationError(f"key ({names}) of {shape} is NULL in {null} rows; name columns that never are")
    if rows != distinct:
        raise ConfigurationError(
            f"key ({names}) of {shape} is not unique: {rows} rows, {distinct} keys; name more columns"
        )
