"""Killed, restarted, moved: the target ends as after an undisturbed run."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.migration import VECTOR_TABLE, Migration, compare_items, kill_after, make_vector_table

ROWS = int(os.environ.get("BYOV_TEST_KILL_ROWS", "5000"))
KILLS = int(os.environ.get("BYOV_TEST_KILLS", "20"))


@pytest.mark.timeout(1500)
def test_killed_at_random_moments_the_target_ends_exact(
    migration: Migration, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """kill -9 anywhere, batch size changed half way, another working directory: nothing missing, doubled, different."""
    vectors = make_vector_table(migration.dsn, ROWS, 32)
    moments = random.Random(4)  # noqa: S311 - no secret
    small, large = "batch_rows = 37\nwriters = 3", "batch_rows = 211\nwriters = 2"
    kills = 0
    for attempt in range(KILLS * 6):
        migration.write(VECTOR_TABLE, target=small if kills < KILLS // 2 else large)
        process = migration.start("backfill", cwd=tmp_path if attempt % 2 else None)
        kills += kill_after(process, moments.uniform(0.2, 2.2))
        if kills >= KILLS or process.returncode == 0:
            break
    assert kills > 0, "no run lived long enough to be killed"
    record_property("kills", kills)

    done = migration.run("backfill")

    assert done.returncode == 0, done.stderr
    account = compare_items(migration, vectors)
    assert account.is_exact, account


def test_a_deleted_state_is_refused_and_nothing_is_doubled(migration: Migration) -> None:
    """A lost state must never write a label a second time: exit 4 before anything is sent."""
    vectors = make_vector_table(migration.dsn, 300, 8)
    migration.write(VECTOR_TABLE)
    assert migration.run("backfill").returncode == 0
    migration.state.unlink()

    again = migration.run("backfill")

    assert again.returncode == 4, again.stderr
    assert "belongs to another state" in again.stderr
    assert "if that state is lost: byov-migrate adopt" in again.stderr
    assert compare_items(migration, vectors).is_exact


def test_a_deleted_state_is_adopted_and_everything_goes_on(migration: Migration) -> None:
    """As the recipe says: with consent alone, and without a second embedding or record."""
    vectors = make_vector_table(migration.dsn, 300, 8)
    migration.write(VECTOR_TABLE)
    assert migration.run("backfill").returncode == 0
    migration.state.unlink()

    unasked = migration.run("adopt")
    assert (unasked.returncode, migration.state.exists()) == (6, False), unasked.stderr
    adopted = migration.run("adopt", "--yes", migration.label)

    assert adopted.returncode == 0, adopted.stderr
    assert f"300 records, {len(vectors)} vectors adopted; 0 texts embedded" in adopted.stdout
    assert [migration.run(command).returncode for command in ("verify", "sync", "status")] == [0, 0, 0]
    assert compare_items(migration, vectors).is_exact


def test_a_second_state_on_one_label_is_refused(migration: Migration, another: Callable[[str], Migration]) -> None:
    """Two states on one label: the second ends 4."""
    vectors = make_vector_table(migration.dsn, 300, 8)
    migration.write(VECTOR_TABLE)
    assert migration.run("backfill").returncode == 0
    second = another("second")
    second.label = migration.label
    second.write(VECTOR_TABLE)

    refused = second.run("backfill")

    assert refused.returncode == 4, refused.stderr
    assert compare_items(migration, vectors).is_exact


def test_a_finished_backfill_writes_nothing_when_it_runs_again(migration: Migration) -> None:
    """A second run finds everything stored: 0 rows, 0 vectors, the same records."""
    make_vector_table(migration.dsn, 120, 8)
    migration.write(VECTOR_TABLE)
    assert migration.run("backfill").returncode == 0
    before = {record["__id"]: record for record in migration.target.records(migration.label)}

    again = migration.run("backfill", "--json")

    assert again.returncode == 0, again.stderr
    assert '"rows": 0' in again.stdout
    assert {record["__id"]: record for record in migration.target.records(migration.label)} == before


def test_a_limited_backfill_goes_on_where_it_stopped(migration: Migration) -> None:
    """--limit N stores the first N rows of the plan; the next run stores the rest."""
    vectors = make_vector_table(migration.dsn, 250, 8)
    migration.write(VECTOR_TABLE)

    limited = migration.run("backfill", "--limit", "90")
    stored = list(migration.target.records(migration.label))

    assert limited.returncode == 0, limited.stderr
    assert len(stored) == 90
    assert "to continue" in limited.stdout
    assert {record["id"] for record in stored} == {3 * number - 50 for number in range(90)}
    assert migration.run("backfill").returncode == 0
    assert compare_items(migration, vectors).is_exact
