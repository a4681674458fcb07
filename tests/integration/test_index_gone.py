"""An index that somebody deleted in RushDB: a new one would be empty, and a sync that made it would say all is well."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from byov_migrate.errors import Refused
from byov_migrate.jobs.backfill import backfill
from byov_migrate.jobs.reembed import drop
from byov_migrate.jobs.repair import repair
from byov_migrate.jobs.status import status
from byov_migrate.jobs.verify import verify
from byov_migrate.state.cursors import Cursors
from byov_migrate.state.journal import Journal
from byov_migrate.target import provision
from byov_migrate.target.rest import RestWire
from byov_migrate.target.wire import Index
from tests.reembed_rig import differences, fill, killed_in, records, two_models, unfilled, use
from tests.sync_rig import EXACT, SyncRig, rigged

__all__ = ["unfilled"]

ROWS = 30
REPORTED = 5
MEND = "byov-migrate sync --full --accept index"
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
    """Every vector is there again, and no record was written for it."""
    records = rig.records()
    rig.delete_index()
    done = rig.sync(full=True, accept="index")
    assert (done.updated, done.created, done.deleted) == (ROWS, 0, 0)
    assert rig.records() == records
    assert ("index-gone", {"index": f"{rig.label}.description", "vectors": ROWS}) in rig.events
    assert rig.compare() == EXACT
    assert rig.sync().changes == 0
    assert verify(rig.config(), surroundings=rig.around()).exit_code == 0


@pytest.mark.parametrize(("owner", "name"), [(provision, "ensure_indexes"), (Journal, "advance"), (Cursors, "move")])
def test_it_goes_on_after_a_kill(rig: SyncRig, owner: object, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sync of the next night, which knows nothing of it, fills the rest, then is as quick as before."""
    rig.target = {"batch_rows": 10, "writers": 1}
    records = rig.records()
    rig.delete_index()
    killed_in(monkeypatch, owner, name, lambda: rig.sync(full=True, accept="index"))
    [told] = status(rig.config(), surroundings=rig.around()).tables
    assert (told.refilling, told.applying) == (("description",), False)
    assert rig.sync().strategy == "full"
    assert status(rig.config(), surroundings=rig.around()).tables[0].refilling == ()
    assert rig.compare() == EXACT
    assert rig.records() == records
    assert (done := rig.sync()).changes == 0
    assert done.strategy != "full"


def test_a_backfill_goes_on_with_it_too(rig: SyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with everything that changed and is not written everywhere yet."""
    rig.delete_index()
    killed_in(monkeypatch, provision, "ensure_indexes", lambda: rig.sync(full=True, accept="index"))
    rig.backfill()
    assert rig.compare() == EXACT


def test_a_repair_fills_what_was_reported_and_the_next_sync_the_rest(rig: SyncRig) -> None:
    """A report lists so many keys and no more. Records keep their ids."""
    ids = rig.ids()
    rig.delete_index()
    [told] = verify(rig.config(), surroundings=rig.around()).tables
    assert told.vectors == ROWS
    [mended] = repair(rig.config(), str(short_report(rig)), surroundings=rig.around()).tables
    assert mended.updated == REPORTED
    assert rig.sync().updated == ROWS - REPORTED
    assert rig.compare() == EXACT
    assert rig.ids() == ids
    assert verify(rig.config(), surroundings=rig.around()).exit_code == 0


def short_report(rig: SyncRig) -> Path:
    """The last report with the first keys alone."""
    with contextlib.closing(rig.opened_state()) as state:
        report: Any = state.reports.last("verify")
    keys = report["tables"][0]["keys"]
    keys["vectors"] = dict(list(keys["vectors"].items())[:REPORTED])
    file = rig.folder / "short.json"
    file.write_bytes(orjson.dumps(report))
    return file


@pytest.mark.parametrize("send_text", [True, False])
@pytest.mark.parametrize("is_killed", [True, False])
def test_texts_that_changed_meanwhile_are_written(
    unfilled: SyncRig, monkeypatch: pytest.MonkeyPatch, *, send_text: bool, is_killed: bool
) -> None:
    """No sync ran since the index was deleted, and the vectors that told an old text are lost with it."""
    use(unfilled, "old", send_text=send_text)
    unfilled.backfill()
    unfilled.delete_index()
    if is_killed:
        fill_again = partial(unfilled.sync, full=True, accept="index")
        killed_in(monkeypatch, provision, "ensure_indexes", fill_again)
    unfilled.execute("UPDATE job SET body = NULL WHERE id = 20")
    unfilled.execute("UPDATE job SET body = 'entirely new' WHERE id = 21")
    unfilled.sync(full=True, accept=None if is_killed else "index")
    stored = records(unfilled)
    assert "byovText_description" not in stored["20"]
    assert [stored[key].get("description") for key in ("20", "21")] == [None, "entirely new" if send_text else ""]
    assert differences(unfilled) == 0


def test_a_text_that_was_refused_while_it_was_filled_comes_later(unfilled: SyncRig) -> None:
    """When the table is marked no more, the record is still of a text that nothing else remembers."""
    unfilled.models["old"] = {**unfilled.models["old"], "long_text": "reject"}
    use(unfilled, "old", send_text=True)
    unfilled.backfill()
    unfilled.delete_index()
    unfilled.execute("UPDATE job SET body = repeat('word ', 3000) WHERE id IN (20, 21)")
    assert unfilled.sync(full=True, accept="index").rejected_new == 2
    assert verify(unfilled.config(), surroundings=unfilled.around()).counts["vectors"] == 0
    unfilled.execute("UPDATE job SET body = 'short again' WHERE id = 20")
    unfilled.execute("UPDATE job SET body = NULL WHERE id = 21")
    unfilled.sync()
    assert [records(unfilled)[key].get("description") for key in ("20", "21")] == ["short again", None]
    assert differences(unfilled) == 0


def test_vectors_that_rushdb_removes_late_are_waited_for(rig: SyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new vector would be removed with them. The sandbox removes at once: its answer is changed."""
    rig.delete_index()
    honest, leftover = RestWire.count_vectors, [ROWS, 3]

    def late(wire: RestWire, index: Index) -> int:
        return leftover.pop(0) if leftover else honest(wire, index)

    monkeypatch.setattr(RestWire, "count_vectors", late)
    rig.sync(full=True, accept="index")
    reasons = [fields["reason"] for action, fields in rig.events if action == "wait"]
    assert [reason.partition(" still holds ")[2] for reason in reasons] == [
        f"{count} vectors of an index that is gone" for count in (ROWS, 3)
    ]
    assert rig.compare() == EXACT


def test_edited_settings_wait_until_it_is_filled(rig: SyncRig) -> None:
    """The two commands would name each other otherwise."""
    rig.delete_index()
    rig.table["columns"] = ["id", "title", "pay"]
    with pytest.raises(Refused, match="is gone from RushDB") as refused:
        backfill(rig.config(), apply=True, surroundings=rig.around())
    steps = f"put the old settings back and run {MEND}; then byov-migrate backfill --apply with the new ones"
    assert refused.value.next_step == steps


def test_an_index_that_is_there_is_left_as_it_is(rig: SyncRig) -> None:
    """Accepting what did not happen costs one comparison of every row."""
    done = rig.sync(full=True, accept="index")
    assert (done.changes, done.unchanged) == (0, ROWS)


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
