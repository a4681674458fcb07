"""A vectors call whose answer was lost and whose repetition was answered: it may land when its run is long dead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from byov_migrate.errors import Ambiguous
from byov_migrate.records import Vector
from byov_migrate.target.delivery import Delivery
from byov_migrate.target.rest import RestWire
from byov_migrate.target.wire import Index
from tests.sync_rig import EXACT, SyncRig, rigged

ROWS = 30
BUDGET_S = 1.0  # what the sandbox announces


@pytest.fixture
def rig(tmp_path: Path, database: str) -> Iterator[SyncRig]:
    """Rows with ready vectors, not migrated yet."""
    with rigged(tmp_path, database) as made:
        made.make_table(ROWS)
        yield made


def test_the_next_run_waits_until_it_cannot_land_any_more(rig: SyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its batch is settled, so that no intent speaks of it; a rewrite at once would get the old vector back."""
    attach = RestWire.attach
    late: list[tuple[Index, dict[str, Vector]]] = []

    def first_is_lost(self: RestWire, index: Index, vectors: Mapping[str, Vector]) -> None:
        if not late:
            late.append((index, dict(vectors)))
            raise Ambiguous("the answer was lost")
        attach(self, index, vectors)

    def killed(_self: Delivery) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(RestWire, "attach", first_is_lost)
        patch.setattr(Delivery, "wait_until_quiet", killed)
        with pytest.raises(SystemExit):
            rig.backfill()
    assert late
    assert rig.opened_state().journal.intents("public.job") == []
    rig.execute("UPDATE job SET embedding = ARRAY[4, 3, 2, 1] WHERE id BETWEEN 10 AND 14")
    rig.events.clear()
    rig.backfill()
    [(reason, seconds)] = [(told["reason"], told["seconds"]) for action, told in rig.events if action == "wait"]
    assert reason == "a vectors call of an earlier run may still be running at the target"
    assert 0 < seconds <= BUDGET_S
    rig.events.clear()
    rig.sync()
    assert rig.compare() == EXACT
    assert [action for action, _ in rig.events if action == "wait"] == []
