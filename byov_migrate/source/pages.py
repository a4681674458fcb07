"""Keyset pages: row comparison over the key, each page in a short transaction of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from byov_migrate.config import TableConfig
from byov_migrate.errors import ConfigurationError
from byov_migrate.records import KeyRange, KeyText, Page, Position, Rejected, Row
from byov_migrate.source.catalog import check_unchanged
from byov_migrate.source.conditions import selection
from byov_migrate.source.rows import RowReader, Selected
from byov_migrate.source.session import Session, Transaction
from byov_migrate.source.shape import Column, TableShape
from byov_migrate.source.statements import Condition, all_of, column_of_row, listed, type_name

KEYS_A_QUERY = 1000


def read_pages(
    session: Session, reader: RowReader, table: TableConfig, key_range: KeyRange, page_rows: int
) -> Iterator[Page]:
    """The rows of a range from where it stands, in the database's key order, until a page comes back short.

    page_rows: rows a page, may differ between runs. Each page checks that the table is still what was planned.
    Raise Refused when it is not, and the errors of a session; the range then goes on from its last position.
    """
    after = key_range.position or key_range.lower
    chosen = selection(reader.shape, table)
    while True:
        bounds = [*_above(reader.shape, after), *_up_to(reader.shape, key_range.upper)]
        selected = _select(session, reader, all_of([chosen, *bounds]), limit=page_rows)
        done = len(selected) < page_rows
        after = reader.position(selected[-1]) if selected else after
        yield Page(reader.read_all(selected), Position(key_range.id, after, done))
        if done:
            return


def read_rows(session: Session, reader: RowReader, table: TableConfig, keys: Sequence[KeyText]) -> list[Row | Rejected]:
    """The rows of these keys that the configuration selects, in no order of worth; absent ones are left out."""
    return list(reader.read_all(list(_by_keys(session, reader, table, keys))))


def read_texts(
    session: Session, reader: RowReader, table: TableConfig, keys: Sequence[KeyText]
) -> dict[str, tuple[str | None, ...]]:
    """`byovKey` -> the local text of each embedding, to be shown beside a hit and never sent."""
    found = _by_keys(session, reader, table, keys)
    return {reader.key(reader.position(selected)): reader.texts(selected) for selected in found}


def count_rows(session: Session, shape: TableShape, table: TableConfig) -> int:
    """How many rows the configuration selects, exactly, now."""
    chosen = selection(shape, table)
    query = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(shape.from_item, chosen.text)
    with session.transaction(statement_timeout_s=0) as transaction:
        return int(transaction.fetch(query, chosen.parameters)[0][0])


def _by_keys(session: Session, reader: RowReader, table: TableConfig, keys: Sequence[KeyText]) -> Iterator[Selected]:
    chosen = selection(reader.shape, table)
    for start in range(0, len(keys), KEYS_A_QUERY):
        wanted = _among(reader.shape, keys[start : start + KEYS_A_QUERY])
        yield from _select(session, reader, all_of([chosen, wanted]))


def _select(session: Session, reader: RowReader, condition: Condition, limit: int | None = None) -> list[Selected]:
    query = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {}{}").format(
        listed(reader.expressions),
        reader.shape.from_item,
        condition.text,
        listed(reader.shape.key_identifiers),
        sql.SQL("") if limit is None else sql.SQL(" LIMIT {}").format(sql.Literal(limit)),
    )
    try:
        with session.transaction() as transaction:
            return _checked(transaction, query, condition.parameters, reader.shape)
    except ConfigurationError:
        with session.transaction() as transaction:
            check_unchanged(transaction, reader.shape)  # names the column that is gone
        raise


def _checked(
    transaction: Transaction, query: sql.Composed, parameters: Sequence[object], shape: TableShape
) -> list[Selected]:
    selected = transaction.fetch(query, parameters)
    check_unchanged(transaction, shape)
    return selected


def _above(shape: TableShape, key: KeyText | None) -> list[Condition]:
    return [] if key is None else [_compared(shape, sql.SQL(">"), key)]


def _up_to(shape: TableShape, key: KeyText | None) -> list[Condition]:
    return [] if key is None else [_compared(shape, sql.SQL("<="), key)]


def _compared(shape: TableShape, operator: sql.SQL, key: KeyText) -> Condition:
    places = listed(sql.SQL("%s::{}").format(type_name(column.cast)) for column in shape.key)
    text = sql.SQL("ROW({}) {} ROW({})").format(listed(shape.key_identifiers), operator, places)
    return Condition(text, key)


def _findable(column: Column) -> sql.Composable:
    """An enum is looked up by its text: a word that is none of its own would be an error, not an absent row."""
    form = sql.SQL("{}::text") if column.base.kind == "e" else sql.SQL("{}")
    return form.format(column_of_row(column.name))


def _question_type(column: Column) -> sql.Composable:
    return sql.SQL("text") if column.base.kind == "e" else type_name(column.cast)


def _among(shape: TableShape, keys: Sequence[KeyText]) -> Condition:
    columns = listed(_findable(column) for column in shape.key)
    arrays = listed(sql.SQL("%s::text[]::{}[]").format(_question_type(column)) for column in shape.key)
    text = sql.SQL("({}) IN (SELECT * FROM unnest({}))").format(columns, arrays)
    return Condition(text, tuple(list(part) for part in zip(*keys, strict=True)))
