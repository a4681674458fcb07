"""Whole syncs, PostgreSQL to sandbox: what changed, what was deleted, what is refused, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg.conninfo import make_conninfo

from byov_migrate import backfill, sandbox
from byov_migrate.errors import (
    ConfigurationError,
    ConsentNeeded,
    Interrupted,
    MigrationError,
    PersonNeeded,
    Refused,
    Unavailable,
)
from byov_migrate.jobs.sync import SyncResult, sync_keys
from byov_migrate.jobs.watch import watch
from byov_migrate.state.journal import Journal
from byov_migrate.target.attaching import Attacher
from tests.postgres import password_of
from tests.sync_rig import EXACT, FILL, KEY, SyncRig

ROWS = 60


@pytest.fixture
def rig(database: str, tmp_path: Path) -> Iterator[SyncRig]:
    """A table of 60 rows, not yet moved."""
    with sandbox.running(tmp_path / "sandbox", KEY) as target:
        made = SyncRig(tmp_path, database, target.url)
        made.make_table(ROWS)
        yield made


@pytest.fixture
def moved(rig: SyncRig) -> SyncRig:
    """After the backfill, and a sync that found nothing to do."""
    rig.backfill()
    assert rig.sync().changes == 0
    return rig


def test_rows_that_were_added_changed_and_deleted_arrive(moved: SyncRig) -> None:
    """Each in its own way, and nothing else is touched."""
    before = moved.ids()
    moved.execute(FILL, (61, 64))
    moved.execute("UPDATE job SET title = 'renamed' WHERE id IN (3, 4)")
    moved.execute("UPDATE job SET embedding = ARRAY[9, 8, 7, 6]::real[] WHERE id = 5")
    moved.execute("DELETE FROM job WHERE id IN (10, 11)")
    done = moved.sync(full=True)
    assert (done.created, done.updated, done.deleted) == (4, 3, 2)
    assert moved.compare() == EXACT
    after = moved.ids()
    assert all(after[key] == record_id for key, record_id in before.items() if key not in ("10", "11"))


def test_a_sync_begins_where_the_backfill_began(rig: SyncRig) -> None:
    """What changed while it ran was read before or after the change; the first sync makes both right."""
    rig.backfill()
    rig.execute("UPDATE job SET pay = pay + 1 WHERE mod(id, 7) = 0")
    rig.execute("DELETE FROM job WHERE id = 2")
    done = rig.sync()
    assert (done.updated, done.deleted, done.strategy) == (8, 1, "window")
    assert rig.compare() == EXACT


def test_a_sync_before_the_backfill_is_complete_is_refused(rig: SyncRig) -> None:
    """Rows that were never read are not changes."""
    backfill(rig.config(), limit=10, surroundings=rig.around())
    with pytest.raises(Refused, match="not complete") as refusal:
        rig.sync()
    assert refusal.value.next_step == "byov-migrate backfill"


def test_nothing_changed_asks_nothing_to_be_written(moved: SyncRig) -> None:
    """And reads no row."""
    done = moved.sync()
    assert (done.unchanged, done.changes, done.texts) == (0, 0, 0)


def test_a_column_that_neither_leaves_nor_is_embedded_may_change_for_free(moved: SyncRig) -> None:
    """Rows are read, found equal and dropped."""
    before = [record["byovBatch"] for record in moved.records()]
    moved.execute("UPDATE job SET hits = hits + 1")
    done = moved.sync()
    assert (done.unchanged, done.changes) == (ROWS, 0)
    assert [record["byovBatch"] for record in moved.records()] == before


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE job SET title = 'other' WHERE id < 20",
        "UPDATE job SET title = NULL WHERE id < 20",
        "UPDATE job SET embedding = ARRAY[id, 1, 0, 0]::real[] WHERE id < 20",
        "UPDATE job SET embedding = NULL WHERE id < 20",
        "UPDATE job SET embedding = NULL, pay = NULL WHERE id < 20",
    ],
)
def test_every_kind_of_update_keeps_the_record_and_never_a_stale_vector(
    moved: SyncRig, change: str, *, unique: bool
) -> None:
    """With the operator's constraint and without."""
    if unique:
        moved.make_keys_unique()
    before = moved.ids()
    moved.execute(change)
    done = moved.sync()
    assert (done.updated, done.created, done.deleted) == (19, 0, 0)
    assert moved.compare() == EXACT
    assert moved.ids() == before
    assert moved.sync().changes == 0


def test_a_vector_that_appears_is_attached(moved: SyncRig) -> None:
    """A record without text had no property to carry it; now it has."""
    moved.execute("UPDATE job SET embedding = NULL WHERE id < 5")
    moved.sync()
    moved.execute("UPDATE job SET embedding = ARRAY[1, 2, 3, 4]::real[] WHERE id < 5")
    assert moved.sync().updated == 4
    assert moved.compare() == EXACT


def test_a_key_that_changes_is_a_delete_and_an_insert(moved: SyncRig) -> None:
    """The old key's record goes once deletes are looked for."""
    moved.execute("UPDATE job SET id = 1000 WHERE id = 7")
    done = moved.sync(full=True)
    assert (done.created, done.deleted) == (1, 1)
    assert moved.compare() == EXACT


def test_a_key_that_comes_back_gets_the_new_vector(moved: SyncRig) -> None:
    """Deleted and inserted again between two syncs, then between a delete that arrived and the next."""
    moved.execute("DELETE FROM job WHERE id = 7")
    moved.execute("INSERT INTO job (id, title, embedding) VALUES (7, 'new', ARRAY[4, 3, 2, 1])")
    assert moved.sync().updated == 1
    assert moved.compare() == EXACT
    moved.execute("DELETE FROM job WHERE id = 7")
    moved.sync(full=True)
    moved.execute("INSERT INTO job (id, title, embedding) VALUES (7, 'newer', ARRAY[1, 1, 2, 1])")
    assert moved.sync().created == 1
    assert moved.compare() == EXACT


def test_deletes_are_looked_for_when_it_is_time(rig: SyncRig) -> None:
    """At once after the backfill, then every `sweep_every`; a clock that was set back makes it due."""
    rig.now = 1_000_000.0
    rig.backfill()
    rig.execute("DELETE FROM job WHERE id = 1")
    assert rig.sync().deleted == 1
    rig.execute("DELETE FROM job WHERE id = 2")
    rig.now += 3599
    assert rig.sync().deleted == 0
    rig.now += 2
    assert rig.sync().deleted == 1
    rig.execute("DELETE FROM job WHERE id = 3")
    rig.now -= 7200
    assert rig.sync().deleted == 1


def test_rows_that_are_marked_deleted_or_fall_out_of_the_filter_are_deleted(rig: SyncRig) -> None:
    """Such a change is seen like any other, without looking at all keys."""
    rig.now = 1_000_000.0
    rig.table = {"where": ["status != draft"], "deleted_when": "hits > 5"}
    rig.backfill()
    rig.sync()
    rig.execute("UPDATE job SET status = 'draft' WHERE id = 1")
    rig.execute("UPDATE job SET hits = 6 WHERE id = 2")
    done = rig.sync()
    assert done.deleted == 2
    assert rig.compare("id > 2") == EXACT
    rig.execute("UPDATE job SET hits = 0, status = 'open' WHERE id < 3")
    assert rig.sync().created == 2
    assert rig.compare() == EXACT


def test_more_deletes_than_the_ceiling_need_a_yes(rig: SyncRig) -> None:
    """Other changes arrive all the same; every run asks again until somebody says yes."""
    rig.execute(FILL, (61, 300))
    rig.backfill()
    rig.execute("DELETE FROM job WHERE id <= 101")
    rig.execute("UPDATE job SET title = 'other' WHERE id = 200")
    for _ in range(2):
        with pytest.raises(
            ConsentNeeded, match="101 of 300 rows are gone from the source, more than the ceiling of 100; nothing"
        ) as asked:
            rig.sync()
        assert asked.value.next_step == "if meant: byov-migrate sync --confirm-deletes"
    assert len(rig.records()) == 300
    assert next(record["title"] for record in rig.records() if record["id"] == 200) == "other"
    assert rig.sync(confirm_deletes=True).deleted == 101
    assert rig.compare() == EXACT


def test_an_emptied_table_needs_a_yes_however_small_it_was(moved: SyncRig) -> None:
    """60 rows are fewer than the ceiling, but none left is never a matter of course."""
    moved.execute("TRUNCATE job")
    with pytest.raises(ConsentNeeded, match="leaves none"):
        moved.sync(full=True)
    assert len(moved.records()) == ROWS


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        ("DROP TABLE job", MigrationError),
        ("ALTER TABLE job RENAME TO jobs", MigrationError),
        ("ALTER TABLE job ALTER COLUMN pay TYPE text", MigrationError),
        ("ALTER TABLE job DROP COLUMN title", MigrationError),
    ],
)
def test_a_table_that_is_not_what_it_was_stops_everything(
    moved: SyncRig, trouble: str, error: type[MigrationError]
) -> None:
    """Missing rows of a missing table are no deletes."""
    moved.execute("DELETE FROM job WHERE id = 1")
    moved.execute(trouble)
    with pytest.raises(error):
        moved.sync(full=True)
    assert len(moved.records()) == ROWS


def test_another_type_of_column_can_be_accepted(moved: SyncRig) -> None:
    """The message names column and both types, and the command that resolves it."""
    moved.execute("ALTER TABLE job ALTER COLUMN pay TYPE numeric(10, 2)")
    with pytest.raises(Refused, match=r"job\.pay is now numeric\(10,2\), was double precision") as refusal:
        moved.sync()
    assert refusal.value.next_step == "byov-migrate sync --full --accept source"
    assert moved.sync(full=True, accept="source").unchanged == ROWS
    assert moved.sync().changes == 0


def test_a_filter_that_was_changed_deletes_nothing(moved: SyncRig) -> None:
    """What falls out of another filter was not deleted by anybody."""
    moved.table = {"where": ["id > 50"]}
    with pytest.raises(Refused, match="where"):
        moved.sync(full=True)
    assert len(moved.records()) == ROWS


def test_rows_that_are_hidden_are_not_gone(rig: SyncRig, database: str) -> None:
    """Row-level security that was switched on would make every row look deleted."""
    rig.execute(f"CREATE ROLE hidden_{id(rig)} LOGIN PASSWORD '{password_of(database)}'")
    rig.execute(f"GRANT SELECT ON job TO hidden_{id(rig)}")
    rig.dsn = make_conninfo(database, user=f"hidden_{id(rig)}")
    rig.backfill()
    rig.dsn = database
    rig.execute("ALTER TABLE job ENABLE ROW LEVEL SECURITY")
    rig.dsn = make_conninfo(database, user=f"hidden_{id(rig)}")
    with pytest.raises(PersonNeeded, match="row-level security"):
        rig.sync()
    rig.dsn = database
    assert len(rig.records()) == ROWS
    rig.execute(f"DROP OWNED BY hidden_{id(rig)}; DROP ROLE hidden_{id(rig)}")


def test_records_of_others_are_never_deleted(moved: SyncRig) -> None:
    """Neither those of the label that we did not write nor those of another label."""
    for label in ("Job", "Other"):
        data = [{"title": "ours alone", "byovKey": "4711"}] if label == "Other" else [{"title": "somebody's"}]
        moved.post("/records/import/json", {"label": label, "data": data, "options": {"suggestTypes": True}})
    moved.execute("DELETE FROM job WHERE id < 4")
    assert moved.sync(full=True).deleted == 3
    for label in ("Job", "Other"):
        body = {"labels": [label], "where": {"title": {"$in": ["ours alone", "somebody's"]}}, "limit": 1}
        assert moved.post("/records/search", body)["total"] == 1


def test_a_record_that_was_deleted_in_rushdb_is_made_anew_when_its_row_changes(moved: SyncRig) -> None:
    """Whole, with its vector."""
    moved.post("/records/delete", {"labels": ["Job"], "where": {"byovKey": {"$in": ["8", "9"]}}})
    moved.execute("UPDATE job SET title = 'other' WHERE id IN (8, 9, 10)")
    done = moved.sync()
    assert (done.created, done.updated) == (2, 1)
    assert moved.compare() == EXACT


def test_what_an_application_added_survives_a_rewrite_when_it_is_named(rig: SyncRig) -> None:
    """`keep_properties` are read and sent back; others of the same record go."""
    rig.table = {"keep_properties": ["rating"]}
    rig.backfill()
    [record] = [record for record in rig.records() if record["id"] == 5]
    body = {"label": "Job", "data": {**_plain(record), "rating": 4, "junk": "x"}, "options": {"suggestTypes": True}}
    headers = {"authorization": f"Bearer {KEY}"}
    httpx.put(
        f"{rig.url}/api/v1/records/{record['__id']}", json=body, headers=headers, trust_env=False
    ).raise_for_status()
    rig.execute("UPDATE job SET title = NULL WHERE id = 5")
    rig.sync()
    [record] = [record for record in rig.records() if record["id"] == 5]
    assert record["rating"] == 4
    assert "junk" not in record
    assert rig.compare() == EXACT


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if not name.startswith("__")}


def test_a_rejected_row_is_tried_again_when_it_changes(rig: SyncRig) -> None:
    """Until then it is left alone, and no run speaks of it again."""
    rig.execute("UPDATE job SET pay = 'NaN' WHERE id = 4")
    rig.backfill()
    assert rig.sync().rejects == 1
    rig.execute("UPDATE job SET pay = 1 WHERE id = 4")
    done = rig.sync()
    assert (done.created, done.rejects) == (1, 0)
    assert rig.compare() == EXACT


def test_a_row_that_becomes_unfit_keeps_its_record_and_is_rejected(moved: SyncRig) -> None:
    """The record stays as it was, whole; when the row goes back to that, the reject is forgotten."""
    moved.execute("UPDATE job SET pay = 'NaN' WHERE id = 4")
    done = moved.sync()
    assert (done.rejected_new, done.rejects) == (1, 1)
    assert len(moved.records()) == ROWS
    moved.execute("UPDATE job SET pay = 6 WHERE id = 4")
    done = moved.sync()
    assert (done.rejects, done.unchanged) == (0, 1)
    assert moved.compare() == EXACT


def test_a_dry_run_says_what_would_be_done_and_does_nothing(moved: SyncRig) -> None:
    """Neither at the target nor in the state."""
    moved.execute(FILL, (61, 63))
    moved.execute("UPDATE job SET title = 'other' WHERE id < 5")
    moved.execute("DELETE FROM job WHERE id IN (20, 21)")
    moved.execute("UPDATE job SET pay = 'NaN' WHERE id = 30")
    state = moved.config().state_path.read_bytes()
    forecast = moved.forecast(full=True)
    assert (forecast.to_create, forecast.to_update, forecast.to_delete, forecast.rejected) == (3, 4, 2, 1)
    assert moved.config().state_path.read_bytes() == state
    assert len(moved.records()) == ROWS
    done = moved.sync(full=True)
    assert (done.created, done.updated, done.deleted, done.rejected_new) == (3, 4, 2, 1)


def test_one_key_can_be_synced_alone(moved: SyncRig) -> None:
    """Changed, new or gone; the next sync begins as before."""
    moved.execute("UPDATE job SET title = 'other' WHERE id IN (1, 2)")
    moved.execute("DELETE FROM job WHERE id = 3")
    moved.execute(FILL, (61, 61))
    [done] = sync_keys(moved.config(), ["1", "3", "61"], surroundings=moved.around()).tables
    assert (done.created, done.updated, done.deleted) == (1, 1, 1)
    assert moved.sync().updated == 1
    assert moved.compare() == EXACT
    with pytest.raises(ConfigurationError, match="no key"):
        sync_keys(moved.config(), ["one"], surroundings=moved.around())


def test_a_stop_ends_a_sync_and_the_next_one_goes_on(moved: SyncRig) -> None:
    """Nothing is lost by stopping at the first page."""
    moved.execute("UPDATE job SET title = 'other'")
    around = moved.around()
    around.stop.set()
    with pytest.raises(Interrupted):
        moved.sync(surroundings=around)
    moved.sync()
    assert moved.compare() == EXACT


def test_records_whose_rewriting_was_never_proved_keep_their_ids(
    moved: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New records of an unproved batch are removed and made anew; links and additions hang on the old ones."""
    before = moved.ids()
    moved.execute("UPDATE job SET embedding = ARRAY[id, 1, 0, 0]::real[] WHERE id < 20")
    with monkeypatch.context() as broken:
        broken.setattr(Attacher, "attach", _away)
        with pytest.raises(Unavailable):
            moved.sync()
    assert moved.compare() != EXACT
    moved.execute("UPDATE job SET embedding = ARRAY[sin(id), cos(id), id, 1]::real[] WHERE id = 5")  # as it was before
    moved.sync()
    assert moved.compare() == EXACT
    assert moved.ids() == before


def _away(*_arguments: object) -> None:
    raise Unavailable("target is away")


def test_a_row_that_comes_back_while_its_removal_is_not_recorded_is_made_anew(
    moved: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is gone, the state did not get to say so, and the row is the very same as before."""
    moved.execute("CREATE TABLE kept AS SELECT * FROM job WHERE id = 7")
    moved.execute("DELETE FROM job WHERE id = 7")
    with monkeypatch.context() as broken:
        broken.setattr(Journal, "end_removal", _away)
        with pytest.raises(Unavailable):
            moved.sync(full=True)
    moved.execute("INSERT INTO job SELECT * FROM kept")
    assert moved.sync().created == 1
    assert moved.compare() == EXACT


def test_a_sum_of_keys_that_fits_by_chance_hides_no_delete(rig: SyncRig) -> None:
    """One key came and one went, then the reverse: number and sum are those of the last look again."""
    rig.now = 1_000_000.0
    rig.table = {"deleted_when": "hits > 5"}
    rig.backfill()
    rig.sync()
    rig.execute(FILL, (61, 61))
    rig.execute("UPDATE job SET hits = 9 WHERE id = 7")
    done = rig.sync()
    assert (done.created, done.deleted) == (1, 1)
    rig.execute("DELETE FROM job WHERE id = 61")
    rig.execute("UPDATE job SET hits = 0 WHERE id = 7")
    rig.now += 3601
    done = rig.sync()
    assert (done.created, done.deleted) == (1, 1)
    assert rig.compare() == EXACT


def test_a_watch_syncs_until_it_is_stopped(moved: SyncRig) -> None:
    """Each round brings what came meanwhile."""
    around, rounds = moved.around(), []

    def told(outcome: object) -> None:
        rounds.append(outcome)
        if len(rounds) == 3:
            around.stop.set()
        moved.execute("UPDATE job SET pay = pay + 1 WHERE id = 1")

    watch(moved.config(), 0.01, told=told, surroundings=around)
    assert len(rounds) == 3
    assert moved.sync().updated == 1
    assert moved.compare() == EXACT


def test_what_was_asked_for_once_a_watch_does_once(moved: SyncRig) -> None:
    """A full pass every few seconds would be no watch."""
    around, strategies = moved.around(), []

    def told(outcome: object) -> None:
        assert isinstance(outcome, SyncResult)
        strategies.append(outcome.tables[0].strategy)
        if len(strategies) == 3:
            around.stop.set()

    watch(moved.config(), 0.01, told=told, full=True, surroundings=around)
    assert strategies == ["full", "window", "window"]


def test_a_record_of_which_nothing_is_known_is_written_although_its_row_has_not_changed(moved: SyncRig) -> None:
    """A repair of it was begun and killed: no window holds the row any more."""
    ids = moved.ids()
    state = moved.opened_state()
    state.runs.begin_run("repair")
    state.journal.point("public.job", {"5": ids["5"]})
    state.close()
    assert moved.sync().updated == 1
    assert moved.compare() == EXACT
    assert moved.ids() == ids


def test_an_accepted_move_of_the_source_is_a_full_pass(moved: SyncRig) -> None:
    """A database under another identity is refused; accepted, every row is compared and deletes are looked for."""
    moved.state = {"source_id": "another-cluster"}
    moved.execute("DELETE FROM job WHERE id = 1")
    with pytest.raises(Refused, match=r"source\.system"):
        moved.sync()
    done = moved.sync(full=True, accept="source")
    assert (done.deleted, done.strategy) == (1, "full")
    assert "accepted" in {action for action, _ in moved.events}
    assert moved.sync().changes == 0
    with pytest.raises(ConfigurationError, match="--full"):
        moved.sync(accept="source")
    with pytest.raises(ConfigurationError, match="--accept"):
        moved.sync(full=True, accept="project")


def test_changed_by_is_used_when_it_is_asked_for(rig: SyncRig) -> None:
    """And the run says on what its guarantee hangs."""
    rig.table = {"strategy": "watermark", "changed_by": "changed", "overlap": "1s"}
    rig.execute("CREATE INDEX ON job (changed)")
    rig.backfill()
    rig.sync()
    time.sleep(2.2)
    rig.execute("UPDATE job SET title = 'other', changed = now() WHERE id = 9")
    done = rig.sync()
    assert (done.updated, done.strategy) == (1, "watermark")
    assert "if changed is set by the database's clock" in done.guarantee
    assert rig.compare() == EXACT


def test_a_view_without_changed_by_can_only_be_read_as_a_whole(rig: SyncRig) -> None:
    """The backfill says so, and sync names what to do."""
    rig.execute("CREATE VIEW listing AS SELECT * FROM job")
    rig.table = {"name": "public.listing", "key": ["id"]}
    rig.backfill()
    assert "no-sync" in {action for action, _ in rig.events}
    with pytest.raises(ConfigurationError) as refusal:
        rig.sync()
    assert refusal.value.next_step == "byov-migrate sync --full"
    rig.execute("UPDATE job SET title = 'other' WHERE id = 9")
    assert rig.sync(full=True).updated == 1
