"""An index that somebody deleted in RushDB: a new one would be empty, and a sync that made it would say all is well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from byov_migrate.errors import Refused
from byov_migrate.jobs.reembed import drop
from byov_migrate.jobs.repair import repair
from byov_migrate.jobs.verify import verify
from tests.reembed_rig import differences, fill, two_models, unfilled
from tests.sync_rig import EXACT, SyncRig, rigged

__all__ = ["unfilled"]

ROWS = 30
MEND = "byov-migrate verify, then byov-migrate sync --repair last"
JOBS: dict[str, Callable[[SyncRig], Any]] = {
    "backfill": SyncRig.backfill,
    "sync": SyncRig.sync,
    "sync --full": lambda rig: rig.sync(full=True),
    "sync --dry-run": SyncRig.forecast,
}


@pytest.fixture
def rig(database: str, tmp_path: Path) -> Iterator[SyncRig]:
    """A migrated table."""
    with rigged(tmp_path, database) as made:
        made.make_table(ROWS)
        made.backfill()
        yield made


@pytest.mark.parametrize("job", JOBS)
def test_no_run_makes_an_empty_one_in_silence(rig: SyncRig, job: str) -> None:
    """At three in the morning nobody looks at a search that finds nothing."""
    rig.delete_index()
    rig.execute("UPDATE job SET pay = 0 WHERE id = 7")
    before = rig.records()
    with pytest.raises(Refused, match=rf"index on {rig.label}\.description is gone .* {ROWS} vectors") as refused:
        JOBS[job](rig)
    assert refused.value.next_step == MEND
    assert [index["propertyName"] for index in rig.indexes()] == []
    assert rig.records() == before


def test_the_command_it_names_fills_it_again(rig: SyncRig) -> None:
    """Records keep their ids; every vector is there again."""
    ids = rig.ids()
    rig.delete_index()
    [told] = verify(rig.config(), surroundings=rig.around()).tables
    assert told.vectors == ROWS
    repair(rig.config(), surroundings=rig.around())
    assert rig.compare() == EXACT
    assert rig.ids() == ids
    assert rig.sync().changes == 0
    assert verify(rig.config(), surroundings=rig.around()).exit_code == 0


def test_one_that_held_no_vector_is_made_again(unfilled: SyncRig) -> None:
    """No row has a text: nothing was lost, and nobody has to be woken."""
    unfilled.execute("UPDATE job SET body = NULL")
    unfilled.backfill()
    unfilled.delete_index()
    assert unfilled.sync().changes == 0
    assert [index["propertyName"] for index in unfilled.indexes()] == ["description"]


def test_a_new_model_s_own_is_dropped_with_what_the_state_knows_of_it(tmp_path: Path, database: str) -> None:
    """Searches do not use it yet: nothing has to be mended, and the model in use goes on."""
    with two_models(tmp_path, database) as rig:
        fill(rig, model="new")
        rig.delete_index("descriptionAlt")
        with pytest.raises(Refused, match=r"descriptionAlt is gone") as refused:
            rig.sync()
        assert refused.value.next_step == "byov-migrate reembed drop --yes descriptionAlt"
        drop(rig.config(), agreed=["descriptionAlt"], surroundings=rig.around())
        assert rig.sync().changes == 0
        assert differences(rig) == 0
