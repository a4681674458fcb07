"""How changes are told, what that guarantees, and what a person is told when they cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from byov_migrate.config import TableConfig
from byov_migrate.source.activity import Activity, OpenTransaction
from byov_migrate.source.circumstances import Circumstances, Member, fork_of
from byov_migrate.source.cursor import Cursor
from byov_migrate.source.shape import Column, TableShape, TypeName
from byov_migrate.source.strategy import NoStrategy, Strategy, choose, duration

QUIET = Activity("2024-05-01 12:00:00+00", False, "reader", 0, 0, None, 0, 0.0)
LONG = OpenTransaction(123, "idle in transaction", "2024-05-01 11:18:00+00", 42 * 60.0)
JOB = Member(1, "public", "job", "r", "heap", False)
HERE = Circumstances("10:20:", [JOB], None, False, True, True, True, QUIET)
SINCE = Cursor("5:8:", "2024-05-01 11:00:00+00", "1/0", 1, False)


def shape(kind: str = "r", changed_type: str = "timestamptz") -> TableShape:
    """A table with a key and a column of that type."""
    columns = {
        name: Column(name, type_, type_, -1, True, "", TypeName("pg_catalog", type_, "b", "D"), None, ("", ""))
        for name, type_ in {"id": "int4", "updated_at": changed_type}.items()
    }
    return TableShape(1, "public", "job", kind, columns, (columns["id"],), True, 10)


def chosen(
    here: Circumstances = HERE,
    since: Cursor | None = SINCE,
    rows: int = 100,
    of: TableShape | None = None,
    **settings: Any,
) -> Strategy | NoStrategy:
    """What is chosen, changed_by being set unless a test says otherwise."""
    given = {"name": "job", "label": "Job", "columns": ["id"], "changed_by": "updated_at", **settings}
    return choose(of or shape(), TableConfig.model_validate(given), here, since, rows)


def strategy(*arguments: Any, **settings: Any) -> Strategy:
    """As `chosen`, which must find one."""
    found = chosen(*arguments, **settings)
    assert isinstance(found, Strategy), found
    return found


def reasons(*arguments: Any, **settings: Any) -> str:
    """As `chosen`, which must find none."""
    found = chosen(*arguments, **settings)
    assert isinstance(found, NoStrategy), found
    return "\n".join(found.reasons)


def with_activity(**changes: Any) -> Circumstances:
    """`HERE` with other sessions."""
    return replace(HERE, activity=replace(QUIET, **changes))


def test_a_small_table_is_read_by_its_window() -> None:
    """It needs nothing and trusts no clock."""
    found = strategy(rows=5_000_000)
    assert (found.kind, found.warning) == ("window", None)
    assert found.guarantee == "complete: every change committed before this run's snapshot, whatever clocks do"


def test_a_large_table_is_read_by_its_watermark() -> None:
    """And the log says on what that hangs."""
    found = strategy(rows=5_000_001)
    assert (found.kind, found.warning) == ("watermark", None)
    assert found.guarantee == (
        "complete if updated_at is set by the database's clock and no transaction's clock is off by more than 15 min"
    )


def test_a_large_table_without_changed_by_has_no_strategy() -> None:
    """The reasons say what to set."""
    told = reasons(rows=5_000_001, changed_by=None)
    assert "5,000,001 rows are more than window_max_rows = 5000000" in told
    assert 'strategy = "window"' in told
    assert "changed_by is not set" in told


def test_a_strategy_that_is_configured_is_the_only_one_tried() -> None:
    """Else a weaker guarantee would come by itself."""
    assert strategy(rows=5_000_001, strategy="window").kind == "window"
    assert strategy(strategy="watermark").kind == "watermark"
    told = reasons(of=shape("v"), strategy="window")
    assert "is a view" in told
    assert "watermark" not in told
    assert "window" not in reasons(strategy="watermark", changed_by=None)


@pytest.mark.parametrize(
    ("here", "kind", "told"),
    [
        (replace(HERE, fork="Greenplum"), "r", "Greenplum"),
        (replace(HERE, is_distributed=True), "r", "Citus"),
        (replace(HERE, members=[JOB, replace(JOB, name="far", kind="f")]), "p", "public.far is a foreign table"),
        (replace(HERE, members=[replace(JOB, access_method="columnar")]), "r", "stored by columnar"),
        (replace(HERE, members=[JOB, replace(JOB, schema="_timescaledb_internal")]), "r", "TimescaleDB"),
        (replace(HERE, shows_ids=False), "r", "GRANT SELECT ON public.job TO reader"),
        (replace(HERE, tells_replay=False), "r", "connect to the primary"),
        (HERE, "v", "is a view"),
    ],
)
def test_rows_without_usable_transaction_ids_have_no_window(here: Circumstances, kind: str, told: str) -> None:
    """Each of these would find nothing, or something else, without an error."""
    assert told in reasons(here, of=shape(kind), changed_by=None)
    assert told in reasons(here, of=shape(kind), strategy="window")


def test_a_view_falls_back_on_its_watermark() -> None:
    """Without a warning about an index: nobody can make one there."""
    found = strategy(replace(HERE, is_indexed=False), of=shape("v"))
    assert (found.kind, found.warning) == ("watermark", None)


def test_transactions_of_another_server_are_followed_by_no_strategy() -> None:
    """Its open transactions are not seen here either."""
    foreign = replace(HERE, members=[replace(JOB, kind="f")])
    assert "foreign table" in reasons(foreign, of=shape("f"), strategy="watermark")


@pytest.mark.parametrize(
    ("here", "told"),
    [
        (with_activity(hidden=1), "GRANT pg_read_all_stats TO reader"),
        (with_activity(untracked=2), "track_activities = off"),
        (with_activity(in_recovery=True), "connect to the primary"),
        (replace(HERE, members=[replace(JOB, is_subscribed=True)]), "logical replication"),
    ],
)
def test_transactions_that_are_not_seen_refuse_the_watermark(here: Circumstances, told: str) -> None:
    """min() skips what is hidden: the watermark would move to now without a word."""
    assert told in reasons(here, strategy="watermark")


@pytest.mark.parametrize("type_", ["text", "date", "int8"])
def test_changed_by_must_be_a_time(type_: str) -> None:
    """A day is too coarse, a text no time."""
    assert f"updated_at is {type_}" in reasons(of=shape(changed_type=type_), strategy="watermark")


def test_a_time_without_zone_is_taken_for_utc_and_says_so() -> None:
    """In another zone it would be hours behind the watermark."""
    assert "it holds UTC" in strategy(of=shape(changed_type="timestamp"), strategy="watermark").guarantee


def test_a_missing_index_is_a_warning() -> None:
    """Slow, not wrong."""
    assert "reads the whole table" in str(strategy(replace(HERE, is_indexed=False), strategy="watermark").warning)


def test_an_old_transaction_that_holds_the_watermark_is_named() -> None:
    """The person at 3 am needs the pid and the age, and no query's text."""
    told = strategy(with_activity(oldest=LONG), strategy="watermark").guarantee
    assert told.endswith("; held at 2024-05-01 11:18:00+00, because pid 123 has been idle in transaction for 42 min")
    assert "held" not in strategy(with_activity(oldest=replace(LONG, age_s=900.0)), strategy="watermark").guarantee
    warning = strategy(with_activity(oldest=LONG)).warning
    assert warning
    assert "pid 123 has been idle in transaction for 42 min" in warning


def test_a_prepared_transaction_holds_the_watermark_where_it_was() -> None:
    """Nobody knows when it began."""
    told = strategy(with_activity(prepared=1, prepared_age_s=7200.0), strategy="watermark").guarantee
    assert told.endswith(
        "; held at 2024-05-01 11:00:00+00, because of a prepared transaction (see pg_prepared_xacts), 2 h old"
    )
    assert "2 prepared transactions" in str(strategy(with_activity(prepared=2, prepared_age_s=7200.0)).warning)


def test_without_a_usable_state_to_begin_at_everything_is_read() -> None:
    """None at all, one of a source that went back, one without a watermark."""
    assert "sync --full" in reasons(since=None)
    assert "went back" in reasons(since=replace(SINCE, snapshot="500:500:"))
    assert "2^32" in reasons(replace(HERE, snapshot=f"3:{2**32 + 5}:"))
    assert "how old the open transactions were" in reasons(since=replace(SINCE, watermark=None), strategy="watermark")


@pytest.mark.parametrize(
    ("version", "fork"),
    [
        ("PostgreSQL 15.8 (Debian 15.8-1) on x86_64-pc-linux-gnu, compiled by gcc", None),
        ("PostgreSQL 15.4 (EnterpriseDB Advanced Server 15.4.0)", None),
        ("PostgreSQL 12.12 (Greenplum Database 7.1.0 build commit:0)", "Greenplum"),
        ("PostgreSQL 11.2-YB-2.20.0.0-b0 on x86_64-pc-linux-gnu", "YugabyteDB"),
        ("PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC, Redshift 1.0.1", "Redshift"),
        ("CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu)", "CockroachDB"),
        ("DuckDB v1", "DuckDB"),
    ],
)
def test_forks_are_known_by_what_they_call_themselves(version: str, fork: str | None) -> None:
    """They answer `xmin` with something that is none."""
    assert fork_of(version) == fork


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (90, "90 s"), (900, "15 min"), (2520, "42 min"), (7200, "2 h"), (200000, "2 d")],
)
def test_a_duration_is_written_for_people(seconds: float, expected: str) -> None:
    """In the largest unit of which there are two."""
    assert duration(seconds) == expected
