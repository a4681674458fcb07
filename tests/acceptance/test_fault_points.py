"""Every fault point: killed, failing or with a full disk there, the next run ends exact.

The points are listed by a first, undisturbed run. Only every BYOV_TEST_FAULT_STEP-th is tried by default, starting
elsewhere for each kind of fault; 1 tries all of them. With a model, whose loading takes longer than all the rest, it is
one point a kind unless the step is given. BYOV_TEST_FAULT_FIRST is where to begin: a whole pass with a model takes two
hours, and can be done in parts, at once or one after the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.acceptance.migration import (
    VECTOR_TABLE_WITH_TEXT,
    Account,
    Migration,
    compare_items,
    compare_records,
    make_vector_table,
)
from tests.models import real_model

STEP = int(os.environ.get("BYOV_TEST_FAULT_STEP", "41"))
FIRST = int(os.environ.get("BYOV_TEST_FAULT_FIRST", "1"))
STEP_WITH_MODEL = int(os.environ.get("BYOV_TEST_FAULT_STEP", "0"))
ROWS = 60
DIMENSION = 384
SETTINGS = 'batch_rows = 20\nwriters = 2\ngive_up_after = "1s"'
INJECTION = Path(__file__).with_name("injection")
MODEL_TABLE = f"""
[models.small]
path = "{{model}}"
dtype = "float32"
{VECTOR_TABLE_WITH_TEXT.replace('vector = "embedding"', 'model = "small"').replace("{note}", "{name} {note}")}"""
SAME_SCORE = 1e-5
"""Texts that are embedded again stand in other batches, and sums are rounded otherwise there."""

Scores = dict[str, list[float]]


def with_fault(fault: str) -> dict[str, str]:
    """The environment that makes a run fail there."""
    return {"PYTHONPATH": str(INJECTION), "BYOV_TEST_FAULT": fault}


@dataclass(frozen=True)
class Trial:
    """One kind of fault, tried at some points of the same backfill."""

    kind: str
    tables: str
    compare: Callable[[Migration], Account]
    another: Callable[[str], Migration]

    def failures(self, points: list[str], numbers: Iterable[int]) -> Iterator[tuple[int, str, int, str, str, Account]]:
        """Points after which the next run was not exact, or at which a run ended as if by a bug, with what was said."""
        for number in numbers:
            attempt = self.another(f"{self.kind}-{number}")
            attempt.write(self.tables, target=SETTINGS)
            hurt = attempt.run("backfill", "-q", environment=with_fault(f"{self.kind}:{number}"))
            healed = attempt.run("backfill", "-q")
            account = self.compare(attempt)
            attempt.target.clear(attempt.label)
            if healed.returncode != 0 or not account.is_exact or hurt.returncode == 1:
                yield number, points[number - 1], hurt.returncode, hurt.stderr, healed.stderr, account


@pytest.mark.slow
@pytest.mark.timeout(14400)
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
    points = list_points(migration, VECTOR_TABLE_WITH_TEXT)
    assert {"before http request", "after http request", "before state commit", "after file fsync"} <= set(points)
    tried = range(1 + offset % STEP, len(points) + 1, STEP)
    trial = Trial(kind, VECTOR_TABLE_WITH_TEXT, lambda attempt: compare_items(attempt, vectors), another)
    record_property("points", len(points))
    record_property("tried", len(tried))
    assert list(trial.failures(points, tried)) == []


@pytest.mark.slow
@pytest.mark.timeout(14400)
@pytest.mark.parametrize(
    ("kind", "typical"),
    [("kill", "after embedding"), ("full", "before state commit"), ("raise", "after http request")],
)
def test_with_a_model_too_the_next_run_ends_exact(
    migration: Migration,
    another: Callable[[str], Migration],
    kind: str,
    typical: str,
    record_property: Callable[[str, object], None],
) -> None:
    """Rows that were embedded and not sent, or sent and not proved, when it failed: each has its own vector, once."""
    make_vector_table(migration.dsn, ROWS, 8)
    tables = MODEL_TABLE.replace("{model}", str(real_model()))
    points = list_points(migration, tables)
    undisturbed = scores_of(migration)
    assert len(undisturbed) == ROWS
    trial = Trial(kind, tables, lambda attempt: compare_embedded(attempt, undisturbed), another)
    tried = range(FIRST, len(points) + 1, STEP_WITH_MODEL) if STEP_WITH_MODEL else [first_at_work(points, typical)]
    record_property("points", len(points))
    record_property("tried", len(tried))
    assert list(trial.failures(points, tried)) == []


def list_points(migration: Migration, tables: str) -> list[str]:
    """The points that an undisturbed run passes."""
    migration.write(tables, target=SETTINGS)
    listing = migration.folder / "points"
    done = migration.run("backfill", "-q", environment=with_fault(f"count:{listing}"))
    assert done.returncode == 0, done.stderr
    return listing.read_text(encoding="utf-8").splitlines()


def first_at_work(points: list[str], name: str) -> int:
    """The number of the first point of this name once texts have been embedded: from then on rows are under way."""
    begun = points.index("after embedding")
    return points.index(name, begun) + 1


def scores_of(migration: Migration) -> Scores:
    """`byovKey` -> scores of its vectors against one query."""
    query = np.random.default_rng(99).standard_normal(DIMENSION).astype(np.float32)
    return migration.target.scores(migration.label, "description", query.tolist(), ROWS)


def compare_embedded(migration: Migration, undisturbed: Scores) -> Account:
    """The label against table `item`, and its vectors against those of a run that nothing disturbed."""
    scores = scores_of(migration)
    wrong = [
        key
        for key in scores
        if key not in undisturbed or len(scores[key]) != 1 or abs(scores[key][0] - undisturbed[key][0]) > SAME_SCORE
    ]
    return compare_records(migration, len(undisturbed.keys() - scores.keys()), len(wrong))
