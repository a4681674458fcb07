"""Every fault point: killed, failing or with a full disk there, the next run ends exact.

The points are listed by a first, undisturbed run. Only every BYOV_TEST_FAULT_STEP-th is tried by default, starting
elsewhere for each kind of fault; 1 tries all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.migration import VECTOR_TABLE, Migration, compare_items, make_vector_table

STEP = int(os.environ.get("BYOV_TEST_FAULT_STEP", "41"))
ROWS = 60
SETTINGS = 'batch_rows = 20\nwriters = 2\ngive_up_after = "1s"'
INJECTION = Path(__file__).with_name("injection")


def with_fault(fault: str) -> dict[str, str]:
    """The environment that makes a run fail there."""
    return {"PYTHONPATH": str(INJECTION), "BYOV_TEST_FAULT": fault}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kind", "offset"), [("kill", 0), ("raise", 3), ("full", 6)])
def test_whatever_fails_where_the_next_run_ends_exact(
    migration: Migration,
    another: Callable[[str], Migration],
    kind: str,
    offset: int,
    record_property: Callable[[str, object], None],
) -> None:
    """No fault at any point loses, doubles or alters anything, once a run has come through."""
    vectors = make_vector_table(migration.dsn, ROWS, 8)
    points = list_points(migration)
    assert {"before http request", "after http request", "before state commit", "after file fsync"} <= set(points)
    wrong = {}
    tried = range(1 + offset % STEP, len(points) + 1, STEP)
    for number in tried:
        attempt = another(f"{kind}-{number}")
        attempt.write(VECTOR_TABLE, target=SETTINGS)
        hurt = attempt.run("backfill", "-q", environment=with_fault(f"{kind}:{number}"))
        healed = attempt.run("backfill", "-q")
        account = compare_items(attempt, vectors)
        attempt.target.clear(attempt.label)
        if healed.returncode != 0 or not account.is_exact or hurt.returncode == 1:
            wrong[number, points[number - 1]] = (
                hurt.returncode,
                hurt.stderr,
                healed.returncode,
                healed.stderr,
                account,
            )
    record_property("points", len(points))
    record_property("tried", len(tried))
    assert wrong == {}


def list_points(migration: Migration) -> list[str]:
    """The points that an undisturbed run passes."""
    migration.write(VECTOR_TABLE, target=SETTINGS)
    listing = migration.folder / "points"
    done = migration.run("backfill", "-q", environment=with_fault(f"count:{listing}"))
    assert done.returncode == 0, done.stderr
    return listing.read_text(encoding="utf-8").splitlines()
