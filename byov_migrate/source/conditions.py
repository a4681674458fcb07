"""`where` and `deleted_when` -> SQL. Column names are names of the catalogue, values are parameters of its types."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from psycopg import sql

from byov_migrate.config import TableConfig
from byov_migrate.filters import Filter
from byov_migrate.source.shape import Column, TableShape
from byov_migrate.source.statements import Condition, all_of, name, type_name

_OPERATORS: Final[Mapping[str, sql.SQL]] = {
    "=": sql.SQL("="),
    "!=": sql.SQL("<>"),
    "<": sql.SQL("<"),
    "<=": sql.SQL("<="),
    ">": sql.SQL(">"),
    ">=": sql.SQL(">="),
}


def compile_filter(filter_: Filter, column: Column) -> Condition:
    """As SQL compares: NULL fulfils `is null` alone. `~` is "contains", upper and lower case alike.

    The database's collation stands for the column's, which may know no case (C) or no patterns (nondeterministic).
    """
    subject, cast = name(column.name), type_name(column.cast)
    if filter_.operator == "is null":
        return Condition(sql.SQL("{} IS NULL").format(subject))
    if filter_.operator == "is not null":
        return Condition(sql.SQL("{} IS NOT NULL").format(subject))
    if filter_.operator == "~":
        return Condition(
            sql.SQL('{}::text COLLATE pg_catalog."default" ILIKE %s').format(subject), (_contains(filter_.values[0]),)
        )
    if filter_.operator == "in":
        places = sql.SQL(", ").join(sql.SQL("%s::{}").format(cast) for _ in filter_.values)
        return Condition(sql.SQL("{} IN ({})").format(subject, places), filter_.values)
    text = sql.SQL("{} {} %s::{}").format(subject, _OPERATORS[filter_.operator], cast)
    return Condition(text, filter_.values)


def _contains(value: str) -> str:
    return "%" + re.sub(r"([\\%_])", r"\\\1", value) + "%"


def selection(shape: TableShape, table: TableConfig) -> Condition:
    """The rows that the migration is about: `where` holds, and `deleted_when` does not."""
    conditions = [compile_filter(filter_, shape.columns[filter_.name]) for filter_ in table.where]
    if table.deleted_when is not None:
        deleted = compile_filter(table.deleted_when, shape.columns[table.deleted_when.name])
        conditions.append(Condition(sql.SQL("({}) IS NOT TRUE").format(deleted.text), deleted.parameters))
    return all_of(conditions)
