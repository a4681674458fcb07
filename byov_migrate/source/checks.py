"""What a table's configuration says that the catalogue denies; every finding is one line for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import psycopg
from psycopg import sql

from byov_migrate.config import TableConfig
from byov_migrate.filters import Filter
from byov_migrate.source.conditions import compile_filter
from byov_migrate.source.names import Relation, nearest
from byov_migrate.source.session import Transaction
from byov_migrate.source.shape import Column
from byov_migrate.source.statements import name
from byov_migrate.source.values import suits
from byov_migrate.source.vectors import holds_vectors


def columns_in_use(table: TableConfig, key: Sequence[str]) -> list[str]:
    """The columns that are read, each once: the only ones whose change matters."""
    named = [*key, *(column for _, column in _named_columns(table, "")), *(f.name for _, f in _filters(table, ""))]
    return list(dict.fromkeys(named))


def table_mistakes(table: TableConfig, known: Mapping[str, Column], key: Sequence[str], path: str) -> list[str]:
    """Unknown columns, types that do not suit, vector columns that are none, a key that would leave though hashed."""
    return [
        *_unknown(table, known, path),
        *_unsuited(table, known, path),
        *_no_vectors(table, known, path),
        *_hashed_key(table, key, path),
    ]


def _named_columns(table: TableConfig, path: str) -> Iterator[tuple[str, str]]:
    for i, column in enumerate(table.columns):
        yield f"{path}.columns[{i}]", column
    for i, embedding in enumerate(table.embeddings):
        for column in embedding.text.columns if embedding.text else ():
            yield f"{path}.embeddings[{i}].text", column
        if embedding.vector is not None:
            yield f"{path}.embeddings[{i}].vector", embedding.vector
    if table.changed_by is not None:
        yield f"{path}.changed_by", table.changed_by


def _filters(table: TableConfig, path: str) -> Iterator[tuple[str, Filter]]:
    for i, filter_ in enumerate(table.where):
        yield f"{path}.where[{i}]", filter_
    if table.deleted_when is not None:
        yield f"{path}.deleted_when", table.deleted_when


def _unknown(table: TableConfig, known: Mapping[str, Column], path: str) -> Iterator[str]:
    keys = [(f"{path}.key[{i}]", column) for i, column in enumerate(table.key or ())]
    filters = [(where, filter_.name) for where, filter_ in _filters(table, path)]
    for where, column in (*keys, *_named_columns(table, path), *filters):
        if column not in known:
            yield f"{where}: {table.name} has no column {column!r}{nearest(column, list(known))}"


def _unsuited(table: TableConfig, known: Mapping[str, Column], path: str) -> Iterator[str]:
    for column, chosen in table.types.items():
        if column in known and not suits(known[column], chosen):
            wanted = {"number": "a number", "datetime-ms": "a timestamp", "text": ""}[chosen]
            yield f'{path}.types.{column}: the column is {known[column].declared}, not {wanted}; only "text" suits'


def _no_vectors(table: TableConfig, known: Mapping[str, Column], path: str) -> Iterator[str]:
    for i, embedding in enumerate(table.embeddings):
        column = known.get(embedding.vector or "")
        if column is not None and not holds_vectors(column):
            yield (
                f"{path}.embeddings[{i}].vector: column {column.name} is {column.declared};"
                " vectors are read from vector, halfvec, real[] or double precision[]"
            )


def _hashed_key(table: TableConfig, key: Sequence[str], path: str) -> Iterator[str]:
    for i, column in enumerate(table.columns):
        if table.hash_key_values and column in key:
            yield f"{path}.columns[{i}]: {column} is a key column, which {path}.hash_key_values keeps at home"


def filter_mistakes(
    transaction: Transaction, table: TableConfig, known: Mapping[str, Column], relation: Relation, path: str
) -> list[str]:
    """Filters that PostgreSQL cannot compare, each asked of the server without reading a row."""
    return [
        f"{where}: {known[filter_.name].declared} column {filter_.name} cannot be compared so; {reason}"
        for where, filter_ in _filters(table, path)
        if (reason := _objection(transaction, filter_, known[filter_.name], relation))
    ]


def _objection(transaction: Transaction, filter_: Filter, column: Column, relation: Relation) -> str | None:
    condition = compile_filter(filter_, column)
    query = sql.SQL("SELECT 1 FROM {} WHERE {} LIMIT 0").format(name(relation.schema, relation.name), condition.text)
    try:
        with transaction.attempt():
            transaction.fetch(query, condition.parameters)
    except psycopg.DataError:
        return f"the value is no {column.cast}"
    except (psycopg.errors.UndefinedFunction, psycopg.errors.UndefinedObject):
        return f"{column.cast} knows no {filter_.operator}"
    except psycopg.errors.InsufficientPrivilege:
        return None  # told by the check of privileges, with its GRANT
    return None
