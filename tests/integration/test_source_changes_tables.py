"""Tables that are none, or that are changed while they are read."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
import pytest

from byov_migrate.errors import Refused, Retriable
from byov_migrate.source import (
    Cursor,
    NoStrategy,
    Session,
    Strategy,
    TableReader,
    ranges,
    went_back,
)
from tests.changes import FAST, WATERMARK, WINDOW, changed, cursor_of, key_sum, read_after
from tests.postgres import fresh_database, session_to, table_reader


def test_a_view_has_no_window(db: psycopg.Connection[Any], session: Session, job: TableReader) -> None:
    """But a watermark, and sums of keys; a materialised view has both."""
    db.execute("CREATE VIEW jobs AS SELECT * FROM job; CREATE MATERIALIZED VIEW kept AS SELECT * FROM job")
    view = table_reader(session, "jobs", key=["id"], **FAST)
    kept = table_reader(session, "kept", key=["id"])
    since = cursor_of(job)
    found = view.strategy(since, 20)
    assert isinstance(found, Strategy)
    assert found.kind == "watermark"
    assert key_sum(view) == key_sum(job)
    db.execute("INSERT INTO job VALUES (21, 'a', false, now()); REFRESH MATERIALIZED VIEW kept")
    assert changed(view, since, WATERMARK) == {"21": True}
    assert "21" in changed(kept, since)
    refused = table_reader(session, "jobs", key=["id"]).strategy(since, 20)
    assert isinstance(refused, NoStrategy)
    assert "is a view" in refused.reasons[0]


def test_a_foreign_table_has_no_strategy(system_postgres: str) -> None:
    """Also as an heir: its ids and its open transactions are another server's."""
    with fresh_database(system_postgres) as dsn, psycopg.connect(dsn, autocommit=True) as db:
        db.execute("CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw")
        db.execute(
            "CREATE TABLE heir (id int PRIMARY KEY); CREATE FOREIGN TABLE far_heir () INHERITS (heir) SERVER far"
        )
        db.execute("CREATE FOREIGN TABLE post (id int) SERVER far")
        db.execute("CREATE TABLE here (id int PRIMARY KEY, updated_at timestamptz)")
        with session_to(dsn) as session:
            since = cursor_of(table_reader(session, "here"))
            for name, told in (("post", "public.post is a"), ("heir", "public.far_heir is a")):
                refused = table_reader(session, name, key=["id"]).strategy(since, 1)
                assert isinstance(refused, NoStrategy)
                assert f"{told} foreign table" in refused.reasons[0]


MIDDLE: list[tuple[LiteralString, type[Exception], str]] = [
    ("TRUNCATE job", Retriable, "emptied or rewritten"),
    ("ALTER TABLE job ALTER id TYPE bigint", Retriable, "emptied or rewritten"),
    ("DROP TABLE job; CREATE TABLE job (id int PRIMARY KEY, title text, gone boolean)", Refused, "dropped, renamed"),
    ("DROP TABLE job", Refused, "dropped, renamed"),
    ("ALTER TABLE job RENAME TO jobs; CREATE VIEW job AS SELECT * FROM jobs WHERE false", Refused, "dropped, renamed"),
    ("ALTER TABLE job RENAME COLUMN title TO name", Refused, "job.title is gone"),
    ("ALTER TABLE job DROP COLUMN title", Refused, "job.title is gone"),
]


@pytest.mark.parametrize(("statement", "error", "told"), MIDDLE)
@pytest.mark.parametrize("reading", ["all_keys", "key_sum", "changed_keys"])
def test_a_table_that_changes_between_snapshot_and_read_is_not_taken_for_empty(
    reading: str,
    statement: LiteralString,
    error: type[Exception],
    told: str,
    db: psycopg.Connection[Any],
    job: TableReader,
) -> None:
    """To an older snapshot a table reads as empty after these, while its catalogue shows it unchanged."""
    since = cursor_of(job)
    with pytest.raises(error, match=told), job.changes(WINDOW, since) as opened:
        read_after(db, statement, opened, reading)


def test_a_view_on_a_table_that_is_emptied_meanwhile_is_not_taken_for_empty(
    db: psycopg.Connection[Any], session: Session, job: TableReader
) -> None:
    """The locks of the read tell which tables stand behind a view."""
    db.execute("CREATE VIEW jobs AS SELECT * FROM job")
    view = table_reader(session, "jobs", key=["id"])
    with pytest.raises(Retriable, match="emptied"), view.changes(None, None) as opened:
        read_after(db, "TRUNCATE job", opened, "key_sum")
    assert job.count() == 0


@pytest.mark.parametrize(
    "statement",
    ["DROP TABLE job", "ALTER TABLE job RENAME TO jobs", "ALTER TABLE job RENAME COLUMN gone TO g"],
)
def test_a_table_that_is_not_the_one_described_is_refused(
    statement: LiteralString, db: psycopg.Connection[Any], job: TableReader
) -> None:
    """Before anything is read, with what to do."""
    since = cursor_of(job)
    db.execute(statement)
    with pytest.raises(Refused) as caught, job.changes(WINDOW, since):
        pass
    assert caught.value.next_step == "byov-migrate plan"


def test_a_table_that_is_rewritten_in_peace_is_no_error(db: psycopg.Connection[Any], job: TableReader) -> None:
    """VACUUM FULL and CLUSTER between two syncs keep the ids; another file is no other table."""
    since = cursor_of(job)
    db.execute("VACUUM FULL job")
    db.execute("CLUSTER job USING job_pkey")
    assert changed(job, since) == {}
    assert key_sum(job).rows == 20


def test_a_source_that_went_back_is_refused(job: TableReader) -> None:
    """Numbers that were used before would select nothing, or anything."""
    since = Cursor("999999999:999999999:", None, "0/0", 1, in_recovery=False)
    with pytest.raises(Refused, match="went back") as caught, job.changes(WINDOW, since):
        pass
    assert caught.value.next_step == "byov-migrate sync --full"
    told = went_back(job.session, Cursor("3:3:", None, "FFFF/0", 1, in_recovery=False))
    assert told is not None
    assert "WAL ends at" in told


def test_a_plan_of_a_table_that_is_emptied_meanwhile_is_made_again(
    db: psycopg.Connection[Any], job: TableReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rows counted would be no rows to migrate."""
    original = ranges._cuts

    def late(*arguments: Any) -> Any:
        db.execute("TRUNCATE job; INSERT INTO job VALUES (1, 'a', false, now())")
        return original(*arguments)

    monkeypatch.setattr(ranges, "_cuts", late)
    with pytest.raises(Retriable, match="emptied"):
        job.plan_ranges()
    monkeypatch.undo()
    assert job.plan_ranges().rows == 1
