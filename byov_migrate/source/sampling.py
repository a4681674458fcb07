"""What some rows of a table look like. Everything is computed by PostgreSQL: figures travel, values do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from psycopg import sql

from byov_migrate.source.session import Session
from byov_migrate.source.shape import Column, TableShape
from byov_migrate.source.statements import listed, name

SAMPLE_ROWS: Final = 1000
SPREAD_FROM_ROWS: Final = 20_000
"""Above it the sample is spread over the table, whose first rows are its oldest."""
TIMEOUT_S: Final = 60

_EMAIL: Final = r"[^@[:space:]]+@[^@[:space:]]+\.[[:alpha:]]{2,}"
# An ISBN with hyphens and a date look like one too.
_PHONE: Final = r"^(?!97[89])(?![0-9]{4}-[0-9]{2}-[0-9]{2})(\+|\(?[0-9]+[ ()/.-])[0-9 ()/.-]{6,}$"
_PERSON: Final = r"^[[:upper:]][[:lower:]'-]+( [[:upper:]]\.?)?( [[:upper:]][[:lower:]'-]+){1,2}$"

_NOTHING: Final = "0"
_COUNT: Final = "count({x})"
_DISTINCT: Final = "count(DISTINCT left({x}::text, 200))"
_TEXT: Final[Mapping[str, str]] = {
    "distinct": _DISTINCT,
    "mean_length": "coalesce(avg(length({x}::text)) FILTER (WHERE {x}::text <> ''), 0)::float8",
    "mean_words": (
        "coalesce(avg(array_length(regexp_split_to_array(btrim(left({x}::text, 2000)), '\\s+'), 1))"
        " FILTER (WHERE {x}::text <> ''), 0)::float8"
    ),
    "emails": "count(*) FILTER (WHERE left({x}::text, 2000) ~ {email})",
    "phones": "count(*) FILTER (WHERE left({x}::text, 100) ~ {phone})",
    "persons": "count(*) FILTER (WHERE left({x}::text, 100) ~ {person})",
}
_SPREAD: Final[Mapping[str, str]] = {
    "emails": _TEXT["emails"],
    "shortest": "coalesce(min(coalesce(array_length({x}, 1), 0)), 0)",
    "longest": "coalesce(max(coalesce(array_length({x}, 1), 0)), 0)",
    "unfit": "count(*) FILTER (WHERE array_ndims({x}) > 1 OR EXISTS (SELECT 1 FROM unnest({x}) AS e WHERE e IS NULL))",
}
# What a value of a type that has a form may still be rejected for.
_UNFIT: Final[Mapping[str, str]] = {
    "int8": "count(*) FILTER (WHERE {x} NOT BETWEEN -9007199254740992 AND 9007199254740992)",
    "numeric": "count(*) FILTER (WHERE {x} = 'NaN' OR abs({x}) > 1e300 OR {x} <> {x}::float8::numeric)",
    "float4": "count(*) FILTER (WHERE {x} IN ('NaN', 'Infinity', '-Infinity'))",
    "float8": "count(*) FILTER (WHERE {x} IN ('NaN', 'Infinity', '-Infinity'))",
    **dict.fromkeys(
        ("date", "timestamp", "timestamptz"),
        "count(*) FILTER (WHERE NOT isfinite({x}) OR {x} < '0001-01-01' OR {x} >= '9999-12-31')",
    ),
}


@dataclass(frozen=True, slots=True)
class ColumnSample:
    """Figures about the values of one column that are not NULL.

    filled: how many there are; distinct: different ones; mean_length: characters; emails, phones, persons: how many
    look like one; unfit: how many would be rejected as they are; shortest, longest: elements of an array.
    """

    filled: int = 0
    distinct: int = 0
    mean_length: float = 0.0
    mean_words: float = 0.0
    emails: int = 0
    phones: int = 0
    persons: int = 0
    unfit: int = 0
    shortest: int = 0
    longest: int = 0

    def share(self, count: int) -> float:
        """`count` of the values that are there, 0 to 1."""
        return count / self.filled if self.filled else 0.0


_FIGURES: Final = tuple(field.name for field in fields(ColumnSample))


def sample_columns(session: Session, shape: TableShape, rows: int) -> dict[str, ColumnSample]:
    """Column name -> figures over at most 1,000 rows. `rows` is how many the table has, near enough."""
    columns = list(shape.columns.values())
    query = sql.SQL("SELECT {figures} FROM ({rows}) AS sample").format(
        figures=listed([figure for column in columns for figure in _figures(column)]), rows=_rows(shape, columns, rows)
    )
    with session.transaction(statement_timeout_s=TIMEOUT_S) as transaction:
        found: Sequence[Any] = transaction.fetch(query)[0]
    width = len(_FIGURES)
    return {
        column.name: ColumnSample(*found[width * number : width * (number + 1)])
        for number, column in enumerate(columns)
    }


def _rows(shape: TableShape, columns: Sequence[Column], rows: int) -> sql.Composed:
    spread: sql.Composable = sql.SQL("")
    if rows > SPREAD_FROM_ROWS and shape.kind in "rp":
        share = sql.Literal(100.0 * 10 * SAMPLE_ROWS / rows)
        spread = sql.SQL(" TABLESAMPLE SYSTEM ({}) REPEATABLE (1)").format(share)
    return sql.SQL("SELECT {} FROM {}{} LIMIT {}").format(
        listed([name(column.name) for column in columns]), shape.from_item, spread, sql.Literal(SAMPLE_ROWS)
    )


def _figures(column: Column) -> list[sql.Composed]:
    written = {"filled": _COUNT, **_by_type(column)}
    values = {
        "x": name("sample", column.name),
        "email": sql.Literal(_EMAIL),
        "phone": sql.Literal(_PHONE),
        "person": sql.Literal(_PERSON),
    }
    return [sql.SQL(written.get(figure, _NOTHING)).format(**values) for figure in _FIGURES]


def _by_type(column: Column) -> Mapping[str, str]:
    if column.element is not None:
        return _SPREAD
    if column.base.category == "S":
        return _TEXT
    if column.base.kind == "e":
        return {"distinct": _DISTINCT}
    unfit = _UNFIT.get(column.base.name) if column.base.schema == "pg_catalog" else None
    return {"unfit": unfit} if unfit else {}
