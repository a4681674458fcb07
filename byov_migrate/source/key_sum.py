"""One number for a set of keys, that PostgreSQL sums up while it counts the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from psycopg import sql

from byov_migrate.source.keys import INTEGERS
from byov_migrate.source.shape import Column
from byov_migrate.source.statements import column_of_row

SEED: Final = 7_046_029_254_386_353_131
"""Fixed for ever: sums are compared across runs."""


def key_hash(key: Sequence[Column]) -> sql.Composable:
    """A key's hash as int8. The functions are those of hash partitioning, so no version of PostgreSQL changes them.

    The hash of one column is the seed of the next.
    """
    expression: sql.Composable = sql.SQL("{}::int8").format(sql.Literal(SEED))
    for column in key:
        expression = _hash(column).format(column_of_row(column.name), expression)
    return expression


def _hash(column: Column) -> sql.SQL:
    if column.base.schema == "pg_catalog":
        if column.base.name in INTEGERS:
            return sql.SQL("hashint8extended({}::int8, {})")
        if column.base.name == "uuid":
            return sql.SQL("uuid_hash_extended({}::uuid, {})")
    # By the bytes: a collation's own hash may change with its library.
    return sql.SQL('hashtextextended({}::text COLLATE "C", {})')
