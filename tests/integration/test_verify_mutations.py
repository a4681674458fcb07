"""`verify` against a RushDB that somebody else has changed: all of it is found, named, and mended by one repair."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from byov_migrate import sandbox
from tests.acceptance.migration import Target
from tests.sync_rig import KEY, SyncRig
from tests.verify_rig import ROWS, WAYS, Vandal, found, make_table, mended, proved

MUTATIONS = int(os.environ.get("BYOV_TEST_MUTATIONS", len(WAYS)))
REAL_URL = os.environ.get("BYOV_TEST_RUSHDB_URL")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    """The RushDB that the environment names, else the sandbox."""
    if REAL_URL:
        yield Target(REAL_URL, os.environ["BYOV_TEST_RUSHDB_API_KEY"], is_sandbox=False)
        return
    with sandbox.running(tmp_path / "sandbox", KEY) as made:
        yield Target(made.url, KEY)


@pytest.fixture
def moved(database: str, target: Target, tmp_path: Path) -> Iterator[SyncRig]:
    """A table of every type, moved and proved."""
    rig = SyncRig(tmp_path, database, target.url, target.key, f"V{uuid.uuid4().hex[:10]}")
    make_table(rig)
    rig.backfill()
    yield rig
    target.clear(rig.label)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_everything_that_is_changed_in_the_target_is_found_named_and_mended(moved: SyncRig) -> None:
    """One thing at a time, each way at least once; BYOV_TEST_MUTATIONS of them."""
    assert proved(moved).exit_code == 0
    vandal = Vandal(moved, Random(11))  # noqa: S311 - to choose what is damaged
    for number in range(MUTATIONS):
        damage = WAYS[number](vandal) if number < len(WAYS) else vandal.damage()
        result = proved(moved)
        told = found(result)
        expected = {kind: set(keys) for kind, keys in damage.expected.items()}
        assert {kind: set(keys) for kind, keys in told.items()} == expected, (number, damage, told)
        for kind, keys in damage.expected.items():
            assert all(word in told[kind][key] for key, word in keys.items()), (number, damage, told)
        assert (result.exit_code, any(result.tables[0].behind.values())) == (5, False)
        mended(moved)
        assert found(proved(moved)) == {}, (number, damage)
    assert len(moved.records()) == ROWS
