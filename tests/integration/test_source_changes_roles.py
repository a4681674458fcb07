"""What a role may see, and what that means for its changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from byov_migrate.errors import PersonNeeded
from byov_migrate.source import (
    NoStrategy,
    Session,
    Strategy,
    TableReader,
    changes,
    source_identity,
    went_back,
)
from byov_migrate.source.activity import Activity, read_activity
from tests.changes import FAST, WATERMARK, changed, cursor_of, key_sum, read_after, role
from tests.postgres import table_reader

LOOK = "byov_migrate.source.changes.read_activity"


@pytest.fixture
def other(any_database: str) -> Iterator[psycopg.Connection[Any]]:
    """A second connection, for what stays open."""
    with psycopg.connect(any_database, autocommit=True) as connection:
        yield connection


def test_row_level_security_that_was_switched_on_meanwhile_stops_the_reading(
    any_database: str, db: psycopg.Connection[Any]
) -> None:
    """Every hidden row would look deleted: before the reading, and also in its middle."""
    with role(any_database, db, "GRANT SELECT ON job TO reader") as session:
        reader = table_reader(session, "job")
        since = cursor_of(reader)
        with pytest.raises(PersonNeeded, match="row-level security"), reader.changes(None, since) as opened:
            read_after(db, "ALTER TABLE job ENABLE ROW LEVEL SECURITY", opened, "all_keys")
        with pytest.raises(PersonNeeded, match="row-level security"), reader.changes(None, since):
            pass
        db.execute("ALTER TABLE job DISABLE ROW LEVEL SECURITY")
        assert changed(reader, since) == {}


def test_a_role_that_may_only_select_reads_changes_by_the_window(
    any_database: str, db: psycopg.Connection[Any]
) -> None:
    """Snapshots and WAL positions are everybody's."""
    with role(any_database, db, "GRANT SELECT ON job TO reader") as session:
        reader = table_reader(session, "job", **FAST)
        since = cursor_of(reader)
        assert since.timeline == 1
        assert since.lsn != "0/0"
        assert went_back(session, since) is None
        db.execute("UPDATE job SET id = 10 WHERE id = 1")
        found = reader.strategy(since, 9)
        assert isinstance(found, Strategy)
        assert (found.kind, changed(reader, since, found)) == ("window", {"10": True})


def test_a_role_with_grants_on_columns_needs_a_grant_for_the_window(
    any_database: str, db: psycopg.Connection[Any]
) -> None:
    """They do not include the ids in the rows: told beforehand, with the GRANT."""
    with role(any_database, db, "GRANT SELECT (id) ON job TO reader") as session:
        reader = table_reader(session, "job")
        refused = reader.strategy(cursor_of(reader), 9)
        assert isinstance(refused, NoStrategy)
        assert "GRANT SELECT ON public.job TO reader" in refused.reasons[0]
        assert key_sum(reader).rows == 9
        db.execute("GRANT SELECT ON job TO reader")
        assert isinstance(reader.strategy(cursor_of(reader), 9), Strategy)


def test_hidden_transactions_refuse_the_watermark_until_they_are_shown(
    any_database: str, db: psycopg.Connection[Any], other: psycopg.Connection[Any]
) -> None:
    """A session of another role has no beginning for us; the message has the GRANT, which then helps."""
    other.execute("SELECT 1")
    with role(any_database, db, "GRANT SELECT ON job TO reader") as session:
        reader = table_reader(session, "job", strategy="watermark", **FAST)
        refused = reader.strategy(cursor_of(reader), 9)
        assert isinstance(refused, NoStrategy)
        assert "GRANT pg_read_all_stats TO reader" in refused.reasons[0]
        assert cursor_of(reader).watermark is None
        db.execute("GRANT pg_read_all_stats TO reader")
        assert isinstance(reader.strategy(cursor_of(reader), 9), Strategy)


def test_a_watermark_that_cannot_be_known_stays_where_it_was(
    any_database: str, db: psycopg.Connection[Any], other: psycopg.Connection[Any]
) -> None:
    """Later than true would lose rows, none at all would end syncing: the earlier one is still true."""
    other.execute("SELECT 1")
    with role(any_database, db, "GRANT SELECT ON job TO reader; GRANT pg_read_all_stats TO reader") as session:
        reader = table_reader(session, "job", **FAST)
        since = cursor_of(reader)
        db.execute("REVOKE pg_read_all_stats FROM reader")
        assert cursor_of(reader, since).watermark == since.watermark is not None


def test_a_session_that_reports_nothing_refuses_the_watermark(job: TableReader, other: psycopg.Connection[Any]) -> None:
    """With track_activities = off a transaction has no beginning for anybody."""
    other.execute("SET track_activities = off")
    other.execute("BEGIN")
    assert cursor_of(job).watermark is None
    circumstances = job.strategy(cursor_of(job), 10_000_000)
    assert isinstance(circumstances, NoStrategy)
    assert "track_activities" in "".join(circumstances.reasons)


def test_a_transaction_that_is_open_holds_the_watermark_and_is_named(
    job: TableReader, other: psycopg.Connection[Any]
) -> None:
    """Idle since before its first write; the log has its pid and state, never its query."""
    other.execute("BEGIN")
    pid, began = other.execute("SELECT pg_backend_pid(), now()").fetchall()[0]
    job = TableReader(job.session, job.table.model_copy(update={"strategy": "watermark"}), job.rows_reader)
    other.execute("SELECT pg_sleep(0.05), 'canary'")
    since = cursor_of(job)
    assert since.watermark is not None
    assert other.execute("SELECT %s::timestamptz = %s", (since.watermark, began)).fetchall()[0][0]
    found = job.strategy(since, 20)
    assert isinstance(found, Strategy)
    assert f"held at {since.watermark}, because pid {pid} has been idle in transaction for 0 s" in found.guarantee
    assert "canary" not in found.guarantee
    other.execute("INSERT INTO job VALUES (50, 'a', false, now())")
    later = cursor_of(job, since)
    other.execute("COMMIT")
    assert changed(job, later, WATERMARK).keys() >= {"50"}


def test_the_identity_and_the_cursor_agree_on_the_timeline(job: TableReader) -> None:
    """Both go into the state and are compared later."""
    assert source_identity(job.session).timeline == cursor_of(job).timeline == 1


def test_a_transaction_that_ends_between_the_two_looks_is_in_one_of_them(
    job: TableReader, other: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open transactions first, then the snapshot: the other way round it would be in neither."""
    other.execute("BEGIN")
    other.execute("INSERT INTO job VALUES (50, 'a', false, now())")

    def after_it_ended(session: Session) -> Activity:
        other.execute("COMMIT")
        return read_activity(session)

    monkeypatch.setattr(changes, "SLACK_S", 0.0)
    monkeypatch.setattr(LOOK, after_it_ended)
    with job.changes(None, None) as opened:
        copied = {key[0] for key in opened.all_keys()}
    monkeypatch.setattr(LOOK, read_activity)
    assert "50" in copied | changed(job, opened.cursor, WATERMARK).keys()
