"""The distinct values of a column, or of an array's elements, read as if they were a table of one column.

Whatever reads tables reads these too: the values are the keys, the filters of the table they come from are part of the
relation, and two values are one only if their bytes are, so that a row's own value always finds its record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from psycopg import sql

from byov_migrate.config import Entry
from byov_migrate.source.conditions import selected_by
from byov_migrate.source.keys import TEXTS, is_key_type
from byov_migrate.source.names import Relation, nearest
from byov_migrate.source.shape import Column, TableShape, TypeName
from byov_migrate.source.statements import name

_TEXT: Final = TypeName("pg_catalog", "text", "b", "S")


def value_column(column: Column) -> Column:
    """The column as its values are keys: an array's elements; text for types that can be no key."""
    base = column.element or column.base
    if is_key_type(base) and base.name not in TEXTS and base.kind != "e":
        return replace(column, base=base, element=None, cast=base.name, modifier=-1)
    return replace(column, base=_TEXT, element=None, cast="text", modifier=-1)


def distinct_mistakes(entry: Entry, known: Mapping[str, Column]) -> Iterator[str]:
    """A column that is not there, or whose values nobody could tell apart."""
    column = known.get(entry.distinct or "")
    if column is None:
        hint = nearest(entry.distinct or "", list(known))
        yield f"{entry.path}.column: {entry.owner} has no column {entry.distinct!r}{hint}"


def distinct_shape(
    entry: Entry, relation: Relation, known: Mapping[str, Column], used: Sequence[str], estimated_rows: int
) -> TableShape:
    """The shape of a `[[nodes]]` entry; its key is proven, since no value is there twice."""
    column = known[entry.distinct or ""]
    value = value_column(column)
    columns = {other: known[other] for other in used} | {column.name: value}
    derived = _distinct(entry, relation, known, column, value)
    return TableShape(
        relation.oid,
        relation.schema,
        relation.name,
        relation.kind,
        columns,
        (value,),
        proven=True,
        estimated_rows=estimated_rows,
        derived=derived,
    )


def _distinct(
    entry: Entry, relation: Relation, known: Mapping[str, Column], column: Column, value: Column
) -> sql.Composed:
    owner_column = name("byov", column.name)
    bare: sql.Composable = sql.SQL("byov_element") if column.element else owner_column
    expanded = sql.SQL(" CROSS JOIN LATERAL unnest({}) AS byov_element").format(owner_column)
    form = sql.SQL('{}::text COLLATE "C"') if value.base == _TEXT else sql.SQL("{}")
    selected = selected_by(entry, known, written_out=True)
    return sql.SQL("(SELECT DISTINCT {} AS {} FROM {} AS byov{} WHERE {} AND {} IS NOT NULL)").format(
        form.format(bare),
        name(column.name),
        name(relation.schema, relation.name),
        expanded if column.element else sql.SQL(""),
        selected.text,
        bare,
    )
