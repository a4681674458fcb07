"""Whole proofs, PostgreSQL against sandbox: what is good is found good, what differs is named and mended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from byov_migrate import sandbox
from byov_migrate.jobs.verify import verify
from tests.sync_rig import KEY, SyncRig

ROWS = 60


@pytest.fixture
def moved(database: str, tmp_path: Path) -> Iterator[SyncRig]:
    """A table of 60 rows, moved."""
    with sandbox.running(tmp_path / "sandbox", KEY) as target:
        rig = SyncRig(tmp_path, database, target.url)
        rig.make_table(ROWS)
        rig.execute("UPDATE job SET embedding = NULL WHERE id = 9")
        rig.backfill()
        yield rig


def test_what_was_moved_is_proved(moved: SyncRig) -> None:
    """Nothing differs, everything was compared."""
    result = verify(moved.config(), surroundings=moved.around())
    [table] = result.tables
    assert (result.exit_code, table.rows, table.records, table.vectors) == (0, ROWS, ROWS, ROWS - 1)
    assert not any(table.behind.values())
    assert table.proofs[0].recall == 1
