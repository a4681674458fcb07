"""RushDB at another place: the project that was moved is taken when a person says so, another one never is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from byov_migrate import sandbox
from byov_migrate.errors import Refused
from tests.sync_rig import DIMENSION, EXACT, KEY, SyncRig

ROWS = 30
OTHER_KEY = "key-of-another-project"
NEW_PROJECT = "UPDATE project SET id = '00000000-0000-4000-8000-00000000000' || number"
NEW_ID = "substr(id, 1, 9) || 'ffff' || substr(id, 14)"
NEW_IDS = f"UPDATE record SET body = replace(body, id, {NEW_ID}), id = {NEW_ID}"
OF_TWENTY_ROWS = "CAST(json_extract(body, '$.byovKey') AS integer) > 10"


class Moving:
    """A sandbox that is stopped, changed and started elsewhere."""

    def __init__(self, rig: SyncRig, stack: ExitStack) -> None:
        self.rig = rig
        self._stack = stack
        self._running = ExitStack()
        self.start()

    def start(self) -> None:
        """At another port each time."""
        target = self._running.enter_context(sandbox.running(self.rig.folder / "sandbox", KEY, other_key=OTHER_KEY))
        self.rig.url = target.url
        self._stack.push(self._running)

    def move(self, *statements: str) -> None:
        """Change what it stores while it is stopped."""
        self._running.close()
        with sqlite3.connect(self.rig.folder / "sandbox" / "sandbox.db") as connection:
            for statement in statements:
                connection.execute(statement)
        self.start()


@pytest.fixture
def moving(tmp_path: Path, database: str) -> Iterator[Moving]:
    """A migrated table."""
    with ExitStack() as stack:
        made = Moving(SyncRig(tmp_path, database, ""), stack)
        made.rig.make_table(ROWS)
        made.rig.backfill()
        yield made


def test_a_project_that_was_moved_is_taken_when_a_person_says_so(moving: Moving) -> None:
    """Both ids are told; afterwards everything goes on as before."""
    rig = moving.rig
    moving.move(NEW_PROJECT)
    with pytest.raises(Refused, match=r"target\.project is now 00000000") as refused:
        rig.sync()
    assert "byov-migrate sync --full --accept target" in str(refused.value.next_step)
    rig.execute("UPDATE job SET pay = 0 WHERE id < 4")
    assert rig.sync(full=True, accept="target").updated == 3
    [told] = [fields for action, fields in rig.events if action == "accepted"]
    assert told["field"] == "target.project"
    assert told["new"].startswith("00000000")
    assert told["old"] != told["new"]
    assert rig.compare() == EXACT
    assert rig.sync().changes == 0


def test_another_project_is_never_taken(moving: Moving) -> None:
    """A wrong key is no move: nothing is written there."""
    rig = moving.rig
    rig.key = OTHER_KEY
    with pytest.raises(Refused, match="does not hold the records of Job") as refused:
        rig.sync(full=True, accept="target")
    assert "use the key" in str(refused.value.next_step)
    assert rig.records() == []
    rig.key = KEY
    assert rig.sync().changes == 0


def test_another_project_that_has_an_index_is_never_taken(moving: Moving) -> None:
    """An index tells which project that is, and that it is not ours: nobody marked the label there."""
    rig = moving.rig
    rig.key = OTHER_KEY
    index = {"label": rig.label, "propertyName": "description", "sourceType": "external"}
    rig.post("/ai/indexes", {**index, "similarityFunction": "cosine", "dimensions": DIMENSION})
    with pytest.raises(Refused, match="does not hold the records of Job"):
        rig.sync(full=True, accept="target")
    assert rig.records() == []
    rig.key = KEY
    assert rig.sync().changes == 0


def test_a_project_with_the_same_rows_by_another_state_is_never_taken(moving: Moving) -> None:
    """Two states would write the same records, each on what it alone knows."""
    rig = moving.rig
    other = SyncRig(rig.folder / "other", rig.dsn, rig.url, OTHER_KEY)
    other.folder.mkdir()
    other.backfill()
    before = other.records()
    rig.key = OTHER_KEY
    with pytest.raises(Refused, match="does not hold the records of Job that this state wrote"):
        rig.sync(full=True, accept="target")
    assert other.records() == before


def test_a_project_is_not_taken_for_a_few_records_that_kept_their_ids(moving: Moving) -> None:
    """Ten of thirty: twenty rows would be made a second time beside those that were imported anew."""
    rig = moving.rig
    moving.move(NEW_PROJECT, f"{NEW_IDS} WHERE {OF_TWENTY_ROWS}")
    with pytest.raises(Refused, match="of 30 records of Job that this state knows 10 are there") as refused:
        rig.sync(full=True, accept="target")
    assert "byov-migrate adopt" in str(refused.value.next_step)
    assert len(rig.records()) == ROWS


def test_a_table_without_a_row_is_taken_too(moving: Moving) -> None:
    """RushDB refuses to look for no record at all, and the whole command ended with that."""
    rig = moving.rig
    rig.execute("DELETE FROM job")
    rig.sync(full=True, confirm_deletes=True)
    moving.move(NEW_PROJECT)
    assert rig.sync(full=True, accept="target").changes == 0
    rig.execute("INSERT INTO job (id, title) VALUES (1, 'the first one')")
    assert rig.sync().created == 1


def test_records_that_were_imported_anew_are_adopted_instead(moving: Moving) -> None:
    """Under other ids every row would be made a second time."""
    rig = moving.rig
    moving.move(NEW_PROJECT, NEW_IDS)
    with pytest.raises(Refused, match="of 30 records of Job that this state knows 0 are there") as refused:
        rig.sync(full=True, accept="target")
    assert "byov-migrate adopt" in str(refused.value.next_step)
