"""What changed since a cursor, and which keys there are: all read from one state of the source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from byov_migrate.config import TableConfig
from byov_migrate.errors import ConfigurationError, Refused
from byov_migrate.records import KeyText
from byov_migrate.source import queries
from byov_migrate.source.activity import read_activity
from byov_migrate.source.catalog import check_unchanged
from byov_migrate.source.conditions import selection
from byov_migrate.source.cursor import Cursor, read_cursor
from byov_migrate.source.faults import translated
from byov_migrate.source.key_sum import key_hash
from byov_migrate.source.session import Session, Transaction
from byov_migrate.source.shape import TableShape
from byov_migrate.source.statements import Condition, column_of_row, listed
from byov_migrate.source.strategy import Strategy
from byov_migrate.source.unchanged import check_as_read, check_visible
from byov_migrate.source.windows import Unusable, Window, window_between

SLACK_S = 1.0
"""A backend reports when its transaction began only after it has taken the time."""


@dataclass(frozen=True, slots=True)
class KeySum:
    """The keys of all selected rows: how many, and a sum of their hashes, the same in whatever order they are read.

    `checksum` compares with a sum that PostgreSQL made of the same table; nothing else computes it.
    """

    rows: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Changes:
    """One state of the source, open for reading. The next sync begins at `cursor`.

    Every reading ends with a check that the table is what it was described as; what it yielded counts only when it has
    ended without an error. One reading at a time.
    """

    session: Session
    transaction: Transaction
    shape: TableShape
    table: TableConfig
    cursor: Cursor
    changed: Condition | None  # the rows that may have changed; None where nothing says since when

    def changed_keys(self) -> Iterator[tuple[KeyText, bool]]:
        """The key of each row that may have changed, and whether the configuration selects it; in no order.

        Memory is bounded; see `Transaction.stream`. Raise Refused when the table is not what was described,
        PersonNeeded when rows are hidden, Retriable when a replica cancelled the query.
        """
        if self.changed is None:
            raise ValueError("changes of a table need a strategy and a cursor to begin at")
        return self._changed_keys(self.changed)

    def _changed_keys(self, changed: Condition) -> Iterator[tuple[KeyText, bool]]:
        chosen = selection(self.shape, self.table)
        query = sql.SQL("SELECT {}, ({}) IS TRUE FROM {} WHERE {}").format(
            _key_texts(self.shape), chosen.text, self.shape.from_item, changed.text
        )
        for row in self._read(query, (*chosen.parameters, *changed.parameters)):
            yield row[:-1], row[-1]

    def all_keys(self) -> Iterator[KeyText]:
        """The key of each selected row, in no order. Memory and errors as `changed_keys`."""
        chosen = selection(self.shape, self.table)
        query = sql.SQL("SELECT {} FROM {} WHERE {}").format(_key_texts(self.shape), self.shape.from_item, chosen.text)
        return self._read(query, chosen.parameters)

    def key_sum(self) -> KeySum:
        """Of the selected rows, in one scan. Errors as `changed_keys`."""
        chosen = selection(self.shape, self.table)
        query = sql.SQL("SELECT count(*), coalesce(sum({}), 0)::text FROM {} WHERE {}").format(
            key_hash(self.shape.key), self.shape.from_item, chosen.text
        )
        with translated(self.session.address):
            rows, checksum = self.transaction.fetch(query, chosen.parameters)[0]
            self._check()
        return KeySum(rows, checksum)

    def _read(self, query: sql.Composed, parameters: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        with translated(self.session.address):
            yield from self.transaction.stream(query, parameters)
            self._check()

    def _check(self) -> None:
        check_visible(self.transaction, self.shape)
        check_as_read(self.transaction, self.shape)
        check_unchanged(self.transaction, self.shape)


@contextmanager
def open_changes(
    session: Session, shape: TableShape, table: TableConfig, strategy: Strategy | None, since: Cursor | None
) -> Iterator[Changes]:
    """Open the state of now. Nothing is read from a replica that has not replayed `since` yet.

    strategy, since: without either, only keys can be read. Raise Refused when the source went back behind `since`,
    Retriable when a replica lags, and what the readings of `Changes` raise.
    """
    if since is not None:
        session.require_replayed(since.lsn)
    activity = read_activity(session)
    try:
        with session.transaction("repeatable read", statement_timeout_s=0) as transaction:
            cursor = read_cursor(transaction, activity, since)
            check_visible(transaction, shape)
            check_unchanged(transaction, shape)
            changed = _changed(transaction, shape, table, strategy, since, cursor)
            yield Changes(session, transaction, shape, table, cursor, changed)
    except ConfigurationError:
        with session.transaction() as transaction:
            check_unchanged(transaction, shape)  # names the column that is gone
        raise


def _changed(
    transaction: Transaction,
    shape: TableShape,
    table: TableConfig,
    strategy: Strategy | None,
    since: Cursor | None,
    now: Cursor,
) -> Condition | None:
    if strategy is None or since is None:
        return None
    window = window_between(since.snapshot, now.snapshot)
    if isinstance(window, Unusable):
        raise Refused(f"changes of {shape} cannot be told from the rest: {window.reason}", next_step=_FULL)
    rows = in_window(window) if strategy.kind == "window" else since_watermark(shape, table, since)
    attached = transaction.fetch(queries.ATTACHED, (shape.oid, window.start, window.width))
    return _or_member_of(rows, [row[0] for row in attached])


_FULL = "byov-migrate sync --full"


def in_window(window: Window) -> Condition:
    """The rows whose writing transaction lies in the window.

    Never `pg_visible_in_snapshot`: a row written under a savepoint has an id that snapshots do not list.
    """
    text = sql.SQL("((byov.xmin::text::int8 - %s::int8) & 4294967295) <= %s::int8")
    return Condition(text, (window.start, window.width))


def since_watermark(shape: TableShape, table: TableConfig, since: Cursor) -> Condition:
    """The rows that `changed_by` says changed since, or says nothing of. An index on it serves both halves."""
    if table.changed_by is None or since.watermark is None:
        raise ValueError("this strategy needs changed_by and a watermark")
    column = shape.columns[table.changed_by]
    zone = sql.SQL(" AT TIME ZONE 'UTC'" if column.base.name == "timestamp" else "")
    text = sql.SQL("{column} >= (%s::timestamptz - make_interval(secs => %s)){zone} OR {column} IS NULL").format(
        column=column_of_row(column.name), zone=zone
    )
    return Condition(text, (since.watermark, table.overlap + SLACK_S))


def _or_member_of(rows: Condition, oids: Sequence[int]) -> Condition:
    """Also all rows of the tables that have become part of the table since: their rows may be old."""
    if not oids:
        return rows
    text = sql.SQL("({}) OR byov.tableoid = ANY (%s::int8[]::oid[])").format(rows.text)
    return Condition(text, (*rows.parameters, list(oids)))


def _key_texts(shape: TableShape) -> sql.Composed:
    return listed(sql.SQL("{}::text").format(identifier) for identifier in shape.key_identifiers)
