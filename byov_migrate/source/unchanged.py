"""Whether what was just read is the table that was described, and all of it."""

from __future__ import annotations

from byov_migrate.errors import Retriable
from byov_migrate.source import queries
from byov_migrate.source.catalog import hidden_rows, replaced
from byov_migrate.source.session import Transaction
from byov_migrate.source.shape import TableShape


def check_visible(transaction: Transaction, shape: TableShape) -> None:
    """Raise PersonNeeded when row-level security is active: hidden rows would look deleted."""
    active, role = transaction.fetch(queries.ROW_SECURITY, (shape.oid,))[0]
    if active:
        raise hidden_rows(str(shape), role)


def check_as_read(transaction: Transaction, shape: TableShape) -> None:
    """For a REPEATABLE READ transaction, after a read; its locks then keep the tables as they are.

    A table that was truncated, rewritten, or dropped and made anew after the transaction's snapshot reads as empty,
    while the snapshot's own catalogue shows it unchanged. Raise Refused for another table under the name, Retriable for
    the rest: a new snapshot shows the rows.
    """
    if transaction.fetch(queries.LIVE_OID, (shape.schema, shape.relation))[0][0] != shape.oid:
        raise replaced(shape)
    if transaction.fetch(queries.REWRITTEN)[0][0]:
        raise Retriable(f"table {shape} was emptied or rewritten while it was read; it is read again")
