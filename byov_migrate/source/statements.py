"""Pieces of SQL. Names come in through `name` alone, values through parameters alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import sql


def name(*parts: str) -> sql.Identifier:
    """A quoted name, or a qualified one.

    `%` is doubled: psycopg reads placeholders in the finished text, inside quotes too.
    """
    return sql.Identifier(*(part.replace("%", "%%") for part in parts))


def column_of_row(column: str) -> sql.Identifier:
    """A column of the table that a query reads as `AS byov`.

    Bare, in ORDER BY, it would mean the output column of that name, hence the order of its text: 1, 10, 2.
    """
    return name("byov", column)


def type_name(sql_name: str) -> sql.Composable:
    """A type as `format_type` wrote it, which is quoted already and is SQL of the server's own making."""
    return sql.SQL(sql_name.replace("%", "%%").replace("{", "{{").replace("}", "}}")).format()


def listed(parts: Iterable[sql.Composable]) -> sql.Composed:
    """Comma separated."""
    return sql.SQL(", ").join(parts)


def qualified_type(schema: str, type_: str) -> str:
    """For messages: `numeric`, `public.vector`."""
    return type_ if schema == "pg_catalog" else f"{schema}.{type_}"


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean expression and the values of its placeholders, in order."""

    text: sql.Composable
    parameters: tuple[object, ...] = ()


TRUE = Condition(sql.SQL("true"))


def all_of(conditions: Sequence[Condition]) -> Condition:
    """True where all are; `true` without any."""
    if not conditions:
        return TRUE
    text = sql.SQL(" AND ").join(sql.SQL("({})").format(condition.text) for condition in conditions)
    return Condition(text, tuple(value for condition in conditions for value in condition.parameters))
