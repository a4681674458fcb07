"""What changed since a cursor, on real servers."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg import sql

from byov_migrate.source import (
    Session,
    Strategy,
    TableReader,
    changes,
)
from byov_migrate.source.statements import Condition
from tests.changes import FAST, WATERMARK, WINDOW, changed, cursor_of, key_sum
from tests.postgres import read_all, table_reader


@pytest.mark.parametrize("strategy", [WINDOW, WATERMARK])
def test_what_was_inserted_or_updated_is_found_and_nothing_else(
    strategy: Strategy, db: psycopg.Connection[Any], job: TableReader
) -> None:
    """Nothing at all where nobody wrote: a sync every minute must cost nothing."""
    since = cursor_of(job)
    assert changed(job, since, strategy) == {}
    db.execute("UPDATE job SET updated_at = now() WHERE id = 7; INSERT INTO job VALUES (21, 'a', false, now())")
    assert changed(job, since, strategy) == {"7": True, "21": True}
    db.execute("DELETE FROM job WHERE id IN (7, 8)")
    assert changed(job, since, strategy) == {"21": True}


def test_a_row_that_is_selected_no_more_is_told_as_such(db: psycopg.Connection[Any], job: TableReader) -> None:
    """Its record has to go, at this sync and not at the next sweep; NULL in a filter selects nothing."""
    since = cursor_of(job)
    db.execute("UPDATE job SET title = 'b' WHERE id = 1; UPDATE job SET title = NULL WHERE id = 2")
    db.execute("UPDATE job SET gone = true WHERE id = 3; UPDATE job SET gone = NULL WHERE id = 4")
    assert changed(job, since) == {"1": False, "2": False, "3": False, "4": True}


def test_the_first_sync_begins_where_the_backfill_began(db: psycopg.Connection[Any], job: TableReader) -> None:
    """What a page has read before it changed is found again, by either strategy."""
    planned = job.plan_ranges()
    assert planned.snapshot == planned.cursor.snapshot
    db.execute("UPDATE job SET updated_at = now() WHERE id = 5")
    assert changed(job, planned.cursor, WINDOW) == changed(job, planned.cursor, WATERMARK) == {"5": True}


def test_changes_need_to_know_since_when(job: TableReader) -> None:
    """All rows are not the answer to a forgotten cursor."""
    for strategy, since in ((None, cursor_of(job)), (WINDOW, None)):
        with job.changes(strategy, since) as opened, pytest.raises(ValueError, match="cursor to begin at"):
            opened.changed_keys()


def test_an_index_on_changed_by_is_used(db: psycopg.Connection[Any], session: Session) -> None:
    """Also for the rows that say nothing of when they changed: else the largest tables are read whole, each time."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY, title text, updated_at timestamptz)")
    db.execute(
        "INSERT INTO job SELECT n, repeat('x', 100), now() - n * interval '1 min' FROM generate_series(1, 100000) n"
    )
    db.execute("CREATE INDEX ON job (updated_at)")
    db.execute("ANALYZE job")
    reader = table_reader(session, "job", strategy="watermark", **FAST)
    since = cursor_of(reader)
    with reader.changes(WATERMARK, since) as opened:
        assert isinstance(opened.changed, Condition)
        statement = sql.SQL("EXPLAIN SELECT id FROM public.job AS byov WHERE ") + opened.changed.text
        rows = opened.transaction.fetch(statement, opened.changed.parameters)
    plan = "\n".join(row[0] for row in rows)
    assert "Seq Scan" not in plan
    assert plan.count("Index Cond") == 2
    found = reader.strategy(since, 100_000)
    assert isinstance(found, Strategy)
    assert (found.kind, found.warning) == ("watermark", None)


@pytest.mark.parametrize("type_", ["timestamptz", "timestamp"])
def test_a_row_that_says_nothing_of_its_change_is_always_read(
    type_: str, db: psycopg.Connection[Any], session: Session
) -> None:
    """NULL compares with nothing; a time without zone is UTC, whatever the role's zone is."""
    db.execute(f"CREATE TABLE job (id int PRIMARY KEY, updated_at {type_})")
    db.execute("ALTER ROLE postgres SET timezone = 'Asia/Kolkata'")
    try:
        reader = table_reader(session, "job", **FAST)
        db.execute("INSERT INTO job VALUES (0, now() AT TIME ZONE 'UTC' - interval '1 hour'), (1, NULL)")
        since = cursor_of(reader)
        db.execute("INSERT INTO job VALUES (2, now() AT TIME ZONE 'UTC')")
        assert changed(reader, since, WATERMARK) == {"1": True, "2": True}
    finally:
        db.execute("ALTER ROLE postgres RESET ALL")


def test_the_overlap_covers_clocks_that_are_slow(db: psycopg.Connection[Any], session: Session) -> None:
    """Times that an application sets, a quarter of an hour late at most."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY, updated_at timestamptz)")
    reader = table_reader(session, "job", changed_by="updated_at")
    since = cursor_of(reader)
    db.execute("INSERT INTO job VALUES (1, now() - interval '14 min'), (2, now() - interval '16 min')")
    assert changed(reader, since, WATERMARK) == {"1": True}


def test_partitions_and_heirs_are_read_with_their_parent(db: psycopg.Connection[Any], session: Session) -> None:
    """Each row has its own transaction id, wherever it lies; one that moves to another partition has a new one."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE job_a PARTITION OF job FOR VALUES FROM (0) TO (100)")
    db.execute("CREATE TABLE job_b PARTITION OF job FOR VALUES FROM (100) TO (200)")
    db.execute("CREATE TABLE post (id int PRIMARY KEY); CREATE TABLE heir () INHERITS (post)")
    db.execute("INSERT INTO job VALUES (1), (2), (101); INSERT INTO post VALUES (1); INSERT INTO heir VALUES (2)")
    reader, posts = table_reader(session, "job"), table_reader(session, "post")
    since = cursor_of(reader)
    assert isinstance(reader.strategy(since, 3), Strategy)
    db.execute("UPDATE job SET id = 150 WHERE id = 1; INSERT INTO job VALUES (3); INSERT INTO heir VALUES (3)")
    assert changed(reader, since) == {"150": True, "3": True}
    assert changed(posts, since) == {"3": True}


@pytest.mark.parametrize("strategy", [WINDOW, WATERMARK])
def test_rows_of_a_partition_that_is_attached_are_new(
    strategy: Strategy, db: psycopg.Connection[Any], session: Session
) -> None:
    """Their transactions are long over and their times old, so nothing in the rows tells."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY, updated_at timestamptz) PARTITION BY RANGE (id)")
    db.execute("CREATE TABLE job_a PARTITION OF job FOR VALUES FROM (0) TO (100)")
    db.execute("CREATE TABLE job_b (id int PRIMARY KEY, updated_at timestamptz)")
    db.execute("INSERT INTO job_b VALUES (101, '2020-01-01'); INSERT INTO job VALUES (1, '2020-01-01')")
    reader = table_reader(session, "job", **FAST)
    since = cursor_of(reader)
    db.execute("ALTER TABLE job ATTACH PARTITION job_b FOR VALUES FROM (100) TO (200)")
    assert changed(reader, since, strategy) == {"101": True}
    assert changed(reader, cursor_of(reader), strategy) == {}


def test_the_slack_is_taken_off_the_watermark(
    db: psycopg.Connection[Any], job: TableReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend reports its beginning after it took the time: a second is for that."""
    monkeypatch.setattr(changes, "SLACK_S", 10.0)
    since = cursor_of(job)
    db.execute("INSERT INTO job VALUES (30, 'a', false, now() - interval '9 s')")
    assert changed(job, since, WATERMARK) == {"30": True}


def test_awkward_names_are_only_names(db: psycopg.Connection[Any], session: Session) -> None:
    """Of the table, its key and changed_by."""
    table, key, at = (sql.Identifier(name) for name in ('100% "x"', "a%s", "{}"))
    db.execute(sql.SQL("CREATE TABLE {} ({} int PRIMARY KEY, {} timestamptz)").format(table, key, at))
    reader = table_reader(session, 'public."100% ""x"""', ["a%s"], changed_by="{}", overlap="0s")
    since = cursor_of(reader)
    db.execute(sql.SQL("INSERT INTO {} VALUES (1, now())").format(table))
    assert changed(reader, since, WINDOW) == changed(reader, since, WATERMARK) == {"1": True}
    assert key_sum(reader).rows == 1
    assert len(read_all(reader)) == 1


def test_an_unlogged_table_is_a_table(db: psycopg.Connection[Any], session: Session) -> None:
    """It has ids like any other."""
    db.execute("CREATE UNLOGGED TABLE job (id int PRIMARY KEY)")
    reader = table_reader(session, "job")
    since = cursor_of(reader)
    db.execute("INSERT INTO job VALUES (1)")
    assert changed(reader, since) == {"1": True}
