"""`where` and `deleted_when` -> SQL. Column names are names of the catalogue, values are parameters of its types."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from psycopg import sql

from byov_migrate.config import TableConfig
from byov_migrate.filters import Filter
from byov_migrate.source.shape import Column, TableShape
from byov_migrate.source.statements import TRUE, Condition, all_of, name, type_name

_OPERATORS: Final[Mapping[str, sql.SQL]] = {
    "=": sql.SQL("="),
    "!=": sql.SQL("<>"),
    "<": sql.SQL("<"),
    "<=": sql.SQL("<="),
    ">": sql.SQL(">"),
    ">=": sql.SQL(">="),
}


def compile_filter(filter_: Filter, column: Column, *, written_out: bool = False) -> Condition:
    """As SQL compares: NULL fulfils `is null` alone. `~` is "contains", upper and lower case alike.

    The database's collation stands for the column's, which may know no case (C) or no patterns (nondeterministic).
    written_out: without parameters, for SQL that becomes part of a relation.
    """
    condition = _compile(filter_, column, _written_out if written_out else _placeholder)
    return Condition(condition.text) if written_out else condition


def _placeholder(_value: str) -> sql.Composable:
    return sql.SQL("%s")


def _written_out(value: str) -> sql.Composable:
    """In hexadecimal, of which neither SQL nor psycopg reads anything as its own."""
    return sql.SQL("convert_from(decode({}, 'hex'), 'UTF8')").format(sql.Literal(value.encode().hex()))


def _compile(filter_: Filter, column: Column, place: Callable[[str], sql.Composable]) -> Condition:
    subject, cast = name(column.name), type_name(column.cast)
    if filter_.operator == "is null":
        return Condition(sql.SQL("{} IS NULL").format(subject))
    if filter_.operator == "is not null":
        return Condition(sql.SQL("{} IS NOT NULL").format(subject))
    if filter_.operator == "~":
        pattern = _contains(filter_.values[0])
        return Condition(
            sql.SQL('{}::text COLLATE pg_catalog."default" ILIKE {}').format(subject, place(pattern)), (pattern,)
        )
    if filter_.operator == "in":
        places = sql.SQL(", ").join(sql.SQL("{}::{}").format(place(value), cast) for value in filter_.values)
        return Condition(sql.SQL("{} IN ({})").format(subject, places), filter_.values)
    value = place(filter_.values[0])
    text = sql.SQL("{} {} {}::{}").format(subject, _OPERATORS[filter_.operator], value, cast)
    return Condition(text, filter_.values)


def _contains(value: str) -> str:
    return "%" + re.sub(r"([\\%_])", r"\\\1", value) + "%"


def selection(shape: TableShape, table: TableConfig) -> Condition:
    """The rows that the migration is about: `where` holds, and `deleted_when` does not."""
    return TRUE if shape.derived else selected_by(table, shape.columns)


def selected_by(table: TableConfig, columns: Mapping[str, Column], *, written_out: bool = False) -> Condition:
    """As `selection`, of a table whose columns these are."""
    conditions = [compile_filter(item, columns[item.name], written_out=written_out) for item in table.where]
    if table.deleted_when is not None:
        deleted = compile_filter(table.deleted_when, columns[table.deleted_when.name], written_out=written_out)
        conditions.append(Condition(sql.SQL("({}) IS NOT TRUE").format(deleted.text), deleted.parameters))
    return all_of(conditions)
