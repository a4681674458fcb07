"""Through pgbouncer in transaction mode with one server connection: a neighbour never meets our settings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.migration import VECTOR_TABLE, Migration, compare_items, make_vector_table
from tests.pooler import pooling

SETTINGS = ("search_path", "statement_timeout", "default_transaction_read_only", "timezone", "extra_float_digits")


@pytest.fixture
def pooled(migration: Migration, servers_root: Path) -> Iterator[Migration]:
    """The migration, its dsn leading through a pool of one connection."""
    with pooling(migration.dsn, servers_root) as dsn:
        migration.dsn = dsn
        yield migration


def settings(neighbour: psycopg.Connection) -> list[str]:
    """What the neighbour's next query would run under."""
    return [str((neighbour.execute(f"show {name}").fetchone() or ("",))[0]) for name in SETTINGS]


def test_a_neighbour_sees_nothing_of_a_backfill_that_is_killed_half_way(pooled: Migration) -> None:
    """Settings before, during and after are the same, and the neighbour can still write."""
    vectors = make_vector_table(pooled.dsn, 3000, 16)
    pooled.write(VECTOR_TABLE, target="batch_rows = 25")
    with psycopg.connect(pooled.dsn, autocommit=True, prepare_threshold=None) as neighbour:
        neighbour.execute("create table note (id int)")
        before = settings(neighbour)
        process = pooled.start("backfill", "-q")
        seen = []
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline and process.poll() is None:
            seen.append(settings(neighbour))
            neighbour.execute("insert into note values (1)")
        process.kill()
        process.communicate()
        after = settings(neighbour)
        done = pooled.run("backfill", "-q")
        finally_ = settings(neighbour)

    assert len(seen) > 10
    assert all(now == before for now in [*seen, after, finally_])
    assert done.returncode == 0, done.stderr
    assert compare_items(pooled, vectors).is_exact
