"""Ready vectors, read from the server's binary form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import sql

from byov_migrate.errors import Refused
from byov_migrate.records import KeyRange, Rejected, Row
from byov_migrate.source import Session, TableReader, open_table
from tests.postgres import read_all, session_to, table_reader


@pytest.fixture
def db(database: str) -> Iterator[psycopg.Connection[Any]]:
    """The superuser, with pgvector in a schema of its own where the server has it."""
    with psycopg.connect(database, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("CREATE SCHEMA ext")
        if connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'").fetchone():
            connection.execute("CREATE EXTENSION vector SCHEMA ext")
        connection.execute("CREATE DOMAIN embedding AS real[]")
        yield connection


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    """A session of the source room."""
    with session_to(database) as opened:
        yield opened


def reader_of(db: psycopg.Connection[Any], session: Session, type_: str, literals: list[str | None]) -> TableReader:
    """A reader of `job`, one row a literal, whose column `v` is embedded."""
    if type_.startswith("ext.") and db.execute("SELECT to_regtype('ext.vector')").fetchone() == (None,):
        pytest.skip("this server has no pgvector")
    db.execute(sql.SQL(f"CREATE TABLE job (id int PRIMARY KEY, v {type_})"))
    for number, literal in enumerate(literals):
        db.execute("INSERT INTO job VALUES (%s, %s)", (number, literal))
    return table_reader(session, "job", embeddings=[{"property": "p", "vector": "v"}])


TYPES = ["real[]", "double precision[]", "embedding", "ext.vector", "ext.vector(3)", "ext.halfvec(3)"]


@pytest.mark.parametrize("type_", TYPES)
def test_a_vector_arrives_bit_for_bit(type_: str, db: psycopg.Connection[Any], session: Session) -> None:
    """Byte order, headers and widths differ between the four types; the schema of the extension is any."""
    values = [0.5, -0.25, 1.5]
    brackets = "[{}]" if type_.startswith("ext.") else "{{{}}}"
    literal = brackets.format(",".join(map(str, values)))
    reader = reader_of(db, session, type_, [literal, None])
    assert reader.dimensions == (3,)
    full, empty = read_all(reader)
    assert isinstance(full, Row)
    (vector,) = full.contents
    assert isinstance(vector, np.ndarray)
    assert vector.dtype == np.dtype("=f4")
    assert vector.tolist() == values
    assert isinstance(empty, Row)
    assert empty.contents == (None,)


@pytest.mark.parametrize(
    ("type_", "literal", "code"),
    [
        ("real[]", "{1,2}", "vector-dimension"),
        ("real[]", "{}", "vector-dimension"),
        ("real[]", "{1,NULL,3}", "vector-null"),
        ("real[]", "{1,NaN,3}", "vector-not-finite"),
        ("real[]", "{1,Infinity,3}", "vector-not-finite"),
        ("real[]", "{{1,2,3},{4,5,6}}", "vector-nested"),
        ("real[]", "{{1,2}}", "vector-nested"),  # as many bytes as a good one has
        ("real[]", "{1,2,NULL,NULL}", "vector-null"),  # here too
        ("real[]", "{0,0,0}", "vector-zero"),
        ("double precision[]", "{1e300,2,3}", "vector-not-finite"),
        ("double precision[]", "{1e-300,0,0}", "vector-zero"),
        ("ext.vector", "[1,2]", "vector-dimension"),
        ("ext.vector(3)", "[0,0,0]", "vector-zero"),
    ],
)
def test_a_vector_that_cannot_be_used_costs_its_row_alone(
    type_: str, literal: str, code: str, db: psycopg.Connection[Any], session: Session
) -> None:
    """One of these in the index breaks the searches of everybody."""
    good = "[1,2,3]" if type_.startswith("ext.") else "{1,2,3}"
    first, second, third, fourth = read_all(reader_of(db, session, type_, [literal, good, good, good]))
    assert isinstance(first, Rejected)
    assert (first.code, first.column, first.stage) == (code, "v", "read")
    assert all(isinstance(row, Row) for row in (second, third, fourth))


def test_a_dimension_that_was_stored_is_kept(db: psycopg.Connection[Any], session: Session) -> None:
    """A later run must judge by what the index was made for, not by today's majority."""
    reader_of(db, session, "real[]", ["{1,2}", "{1,2}"])
    table = table_reader(session, "job", embeddings=[{"property": "p", "vector": "v"}])
    strict = open_table(session, table.table, table.rows_reader.digests, dimensions=(3,))
    assert [type(row) for row in read_all(strict)] == [Rejected, Rejected]


def test_a_column_that_changes_its_dimension_stops_the_run(db: psycopg.Connection[Any], session: Session) -> None:
    """Two vector spaces in one index can never be told apart again."""
    reader = reader_of(db, session, "ext.vector(3)", ["[1,2,3]"])
    db.execute("TRUNCATE job; ALTER TABLE job ALTER v TYPE ext.vector(2)")
    with pytest.raises(Refused, match=r"job.v is now ext.vector\(2\), was ext.vector\(3\)"):
        list(reader.pages(KeyRange(1, None, None), 5))
