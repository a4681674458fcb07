"""All keys of a table, one by one and summed up."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql

from byov_migrate.source import (
    KeySum,
    Session,
    TableReader,
)
from byov_migrate.source.key_sum import key_hash
from tests.changes import key_sum
from tests.postgres import table_reader


def test_all_keys_are_those_of_the_selected_rows(db: psycopg.Connection[Any], job: TableReader) -> None:
    """In one state: what comes later is not there yet. More than one batch of them."""
    db.execute("INSERT INTO job SELECT n, 'a', false, now() FROM generate_series(21, 12001) n")
    db.execute("UPDATE job SET title = 'b' WHERE id = 3")
    with job.changes(None, None) as opened:
        keys = opened.all_keys()
        first = next(keys)
        db.execute("INSERT INTO job VALUES (99999, 'a', false, now()); DELETE FROM job WHERE id = 4")
        everything = [first, *keys]
        assert opened.key_sum().rows == len(everything)
    assert sorted(int(key[0]) for key in everything) == [n for n in range(1, 12002) if n != 3]


def test_reading_may_be_given_up(job: TableReader) -> None:
    """A job that stops half-way leaves a session that works."""
    with job.changes(None, None) as opened:
        next(opened.all_keys())
        assert opened.key_sum().rows == 20
    assert job.count() == 20


KEYS = {
    "int": ("k int", "n"),
    "oid": ("k oid", "n"),
    "text": ('k text COLLATE "C"', "'ä' || n"),
    "char": ("k char(9)", "n::text"),
    "uuid": ("k uuid", "md5(n::text)::uuid"),
    "numeric": ("k numeric", "n / 7.0"),
    "bytea": ("k bytea", "decode(md5(n::text), 'hex')"),
    "timestamptz": ("k timestamptz", "to_timestamp(n)"),
    "enum": ("k mood, l int", "(ARRAY['z', 'a'])[n % 2 + 1]::mood, n"),
    "composite": ("k int, l text", "n % 3, chr(97 + n % 26)"),
}


# Stored in states: the same on every version of PostgreSQL, for ever.
SUMS = {
    "int": "9179666890268748861",
    "oid": "9179666890268748861",
    "text": "-37440523005874027808",
    "char": "8656781212782264210",
    "uuid": "41269787911626589518",
    "numeric": "74095905336213361581",
    "bytea": "26233329205374598211",
    "timestamptz": "-15270752764290744413",
    "enum": "20781514588043218758",
    "composite": "7467415588113385905",
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_sum_tells_keys_apart(kind: str, db: psycopg.Connection[Any], session: Session) -> None:
    """One key for another at equal count changes it; the order of rows, and a row rewritten, do not."""
    columns, expression = KEYS[kind]
    names = ", ".join(part.split()[0] for part in columns.split(", "))
    db.execute("CREATE TYPE mood AS ENUM ('z', 'a')")
    db.execute(sql.SQL(f"CREATE TABLE job ({columns}, id int, PRIMARY KEY ({names}))"))
    db.execute(sql.SQL(f"INSERT INTO job SELECT {expression}, n FROM generate_series(1, 40) n"))
    reader = table_reader(session, "job")
    before = key_sum(reader)
    assert before == KeySum(40, SUMS[kind])
    db.execute("UPDATE job SET id = id + 1000 WHERE id < 20")
    assert key_sum(reader) == before
    db.execute("DELETE FROM job WHERE id = 30")
    db.execute(sql.SQL(f"INSERT INTO job SELECT {expression}, n FROM generate_series(77, 77) n"))
    assert key_sum(reader).rows == 40
    assert key_sum(reader).checksum != before.checksum


def test_a_pair_of_keys_is_not_its_mirror_image(db: psycopg.Connection[Any], session: Session) -> None:
    """(1, 2) and (2, 1) are two rows."""
    db.execute("CREATE TABLE job (a int, b int, id int, PRIMARY KEY (a, b)); INSERT INTO job VALUES (1, 2, 0)")
    before = key_sum(table_reader(session, "job"))
    db.execute("UPDATE job SET a = 2, b = 1")
    assert key_sum(table_reader(session, "job")).checksum != before.checksum


def test_no_rows_have_a_sum_too(db: psycopg.Connection[Any], job: TableReader) -> None:
    """The sum of nothing is NULL in SQL."""
    db.execute("TRUNCATE job")
    assert key_sum(job) == KeySum(0, "0")


def test_a_key_sum_may_be_made_in_parallel(db: psycopg.Connection[Any], session: Session) -> None:
    """Of a large table; a function that is not parallel safe would cost twice the time without a word."""
    db.execute("CREATE TABLE job (id text PRIMARY KEY)")
    db.execute("INSERT INTO job SELECT 'job-' || n FROM generate_series(1, 200000) n")
    db.execute("ANALYZE job")
    reader = table_reader(session, "job")
    with reader.changes(None, None) as opened:
        query = sql.SQL("EXPLAIN SELECT sum({}) FROM {}").format(key_hash(reader.shape.key), reader.shape.from_item)
        plan = opened.transaction.fetch(query)
    assert "Parallel" in "\n".join(row[0] for row in plan)
