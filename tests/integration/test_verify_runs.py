"""Whole proofs, PostgreSQL against sandbox: what is good is found good, what is behind is no difference."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from byov_migrate import sandbox
from byov_migrate.errors import (
    Ambiguous,
    ConfigurationError,
    ConsentNeeded,
    Interrupted,
    MigrationError,
    Refused,
    Unavailable,
)
from byov_migrate.jobs.rejects import accept_rejects
from byov_migrate.jobs.repair import repair
from byov_migrate.jobs.surroundings import Progress
from byov_migrate.jobs.sync import sync
from byov_migrate.jobs.verify import reported_keys, to_report, verify
from byov_migrate.jobs.verify.job import scratch_path
from byov_migrate.target.delivery import Delivery
from byov_migrate.target.rest import RestWire
from tests.reembed_rig import killed_in
from tests.sync_rig import KEY, SyncRig
from tests.verify_rig import ROWS, Vandal, found, make_table, mended, proved

ROUNDS = int(os.environ.get("BYOV_TEST_WRITER_ROUNDS", "5"))


@pytest.fixture
def moved(database: str, tmp_path: Path) -> Iterator[SyncRig]:
    """A table of every type, moved."""
    with sandbox.running(tmp_path / "sandbox", KEY) as target:
        rig = SyncRig(tmp_path, database, target.url)
        make_table(rig)
        rig.backfill()
        yield rig


@pytest.fixture
def vandal(moved: SyncRig) -> Vandal:
    """Who changes the target behind its back."""
    return Vandal(moved, Random(5))  # noqa: S311 - to choose what is damaged


def test_what_was_moved_is_proved_and_nothing_is_left_behind(moved: SyncRig) -> None:
    """Everything was compared; the scratch file is gone, and so is the lock."""
    result = proved(moved)
    [table] = result.tables
    assert (result.exit_code, table.rows, table.records, table.vectors) == (0, ROWS, ROWS, ROWS - 1)
    assert not any(table.behind.values())
    assert (table.proofs[0].recall or 0) > 0.8
    assert not scratch_path(moved.config().state_path).exists()
    assert found(proved(moved)) == {}


def test_verify_writes_nothing_to_either_side(moved: SyncRig, vandal: Vandal) -> None:
    """A proof that changed what it proves would be none."""
    vandal.delete("3")
    before = moved.records()
    proved(moved)
    assert moved.records() == before


def test_what_the_next_sync_brings_is_behind_and_no_difference(moved: SyncRig) -> None:
    """Inserted, changed, deleted, text changed: each counted as what it looks like, and gone after the sync."""
    moved.execute("INSERT INTO job (id, title) VALUES (100, 'new')")
    moved.execute("UPDATE job SET pay = 0.25 WHERE id IN (3, 4)")
    moved.execute("UPDATE job SET embedding = array_fill(1::real, ARRAY[16]) WHERE id = 5")
    moved.execute("DELETE FROM job WHERE id = 6")
    result = proved(moved)
    assert (result.exit_code, found(result)) == (0, {})
    behind = {kind: count for kind, count in result.tables[0].behind.items() if count}
    assert behind == {"missing": 1, "extra": 1, "values": 3, "vectors": 1}
    moved.sync(full=True)
    assert not any(proved(moved).tables[0].behind.values())


def test_a_change_that_the_strategy_cannot_see_is_a_difference(moved: SyncRig) -> None:
    """A column that was not stamped: a sync by watermark never comes to this row."""
    moved.execute("ALTER TABLE job ADD COLUMN changed timestamptz NOT NULL DEFAULT now() - interval '1 year'")
    moved.execute("CREATE INDEX ON job (changed)")
    moved.table |= {"strategy": "watermark", "changed_by": "changed", "overlap": "1s"}
    moved.sync()
    moved.execute("UPDATE job SET pay = 0.25 WHERE id = 3")
    moved.execute("UPDATE job SET pay = 0.25, changed = now() WHERE id = 4")
    result = proved(moved)
    assert found(result) == {"values": {"3": "pay, byovHash"}}
    assert result.tables[0].behind["values"] == 1
    assert result.tables[0].properties == {"byovHash": 1, "pay": 1}


def test_a_record_that_is_gone_is_a_difference_although_its_row_was_touched(moved: SyncRig, vandal: Vandal) -> None:
    """The sync looks at the row, finds it to be what it stored, and leaves it."""
    vandal.delete("3")
    moved.execute("UPDATE job SET note = note WHERE id = 3")
    assert found(proved(moved)) == {"missing": {"3": ""}}


def test_a_reject_is_a_difference_until_it_is_accepted(moved: SyncRig) -> None:
    """One of a new row, one of a row that has a record from before; a repair cannot make them fit."""
    moved.execute("INSERT INTO job (id, title, pay) VALUES (100, 'new', 'NaN')")
    moved.execute("UPDATE job SET pay = 'NaN' WHERE id = 3")
    assert found(proved(moved)) == {}
    moved.sync()
    [code] = {row["code"] for row in moved.opened_state().ledger.rejects()}
    expected = {"missing": {"100": f"rejected: {code}"}, "values": {"3": f"rejected: {code}"}}
    assert found(proved(moved)) == expected
    mended(moved)
    assert found(proved(moved)) == expected
    accept_rejects(moved.config(), reason="known", by="a test", code=code, surroundings=moved.around())
    assert found(proved(moved)) == {}


def test_the_report_names_keys_and_ranges_and_no_value(moved: SyncRig, vandal: Vandal) -> None:
    """What is missing is given as ranges of the source's own order."""
    for key in ("3", "4", "5", "20"):
        vandal.delete(key)
    report = to_report(proved(moved))
    [table] = report["tables"]
    assert table["missing_ranges"] == [["3", "5", 3], ["20", "20", 1]]
    assert sorted(table["keys"]["missing"]) == ["20", "3", "4", "5"]
    assert "title" not in json.dumps(report)
    assert reported_keys(json.loads(json.dumps(report))) == {"public.job": list(table["keys"]["missing"])}
    state = moved.opened_state()
    assert state.reports.last("verify") == json.loads(json.dumps(report))


def test_a_part_that_is_skipped_finds_nothing_and_says_so(moved: SyncRig, vandal: Vandal) -> None:
    """Each tier alone is left out; the others find theirs."""
    vandal.delete("3")
    vandal.put("4", lambda held: held.update(pay=-1))
    vandal.put("5", lambda _held: None, keep_vector=False)
    vandal.put("6", lambda held: held.update(comment="x"))
    everything = {"missing": {"3"}, "values": {"4"}, "vectors": {"5"}, "text": {"6"}}
    for tier, kind in (("rows", "missing"), ("values", "values"), ("vectors", "vectors"), ("text", "text")):
        result = proved(moved, skip=[tier])
        told = {name: set(keys) for name, keys in found(result).items()}
        assert told == {name: keys for name, keys in everything.items() if name != kind}
        assert result.skipped == (tier,)
    with pytest.raises(ConfigurationError, match="rows, values, vectors, links, text"):
        proved(moved, skip=["nothing"])


def test_stop_after_ends_once_so_many_are_found(
    moved: SyncRig, vandal: Vandal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says that there may be more."""
    monkeypatch.setattr("byov_migrate.jobs.verify.reading_sides.first_width", lambda _rows: 8)
    monkeypatch.setattr("byov_migrate.jobs.verify.reading_sides.next_width", lambda width, _effort: width)
    for key in range(1, 31):
        vandal.delete(str(key))
    result = proved(moved, stop_after=3)
    assert result.stopped
    assert 3 <= result.counts["missing"] < 30
    assert proved(moved, stop_after=1000).counts["missing"] == 30


class Stopped:
    """A run that is told to stop at its n-th sign of progress."""

    def __init__(self, after: int) -> None:
        self.stop = threading.Event()
        self.seen: list[Progress] = []
        self.after = after

    def __call__(self, progress: Progress) -> None:
        """Count."""
        self.seen.append(progress)
        if len(self.seen) >= self.after:
            self.stop.set()


def in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five pages of rows, 16 chunks of records."""
    monkeypatch.setattr("byov_migrate.jobs.verify.reading_sides.PAGE_ROWS", 8)
    monkeypatch.setattr("byov_migrate.jobs.verify.reading_sides.first_width", lambda _rows: 16)
    monkeypatch.setattr("byov_migrate.jobs.verify.reading_sides.next_width", lambda width, _effort: width)


@pytest.mark.parametrize("after", [2, 9])
def test_a_verify_that_was_stopped_goes_on_where_it_was(
    moved: SyncRig, vandal: Vandal, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Soon after it began and later, both sides being read; its file is for nobody else."""
    in_small_steps(monkeypatch)
    vandal.delete("3")
    stopped = Stopped(after)
    with pytest.raises(Interrupted):
        proved_in(moved, progress=stopped, stop=stopped.stop)
    path = scratch_path(moved.config().state_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    steps = Stopped(1000)
    assert found(proved_in(moved, progress=steps)) == {"missing": {"3": ""}}
    whole = Stopped(1000)
    proved_in(moved, progress=whole)
    left = len(whole.seen) - len(stopped.seen)
    assert left - 2 <= len(steps.seen) <= left  # the step under way on each side was finished
    assert not path.exists()


def proved_in(rig: SyncRig, *, restart: bool = False, **around: Any) -> Any:
    """A verify in other surroundings."""
    return verify(rig.config(), restart=restart, surroundings=rig.around(**around))


@pytest.mark.parametrize("why", ["restart", "configuration", "a day"])
def test_what_was_read_is_not_used_when_it_may_not_fit(
    moved: SyncRig, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Asked to start over, another configuration, or too long ago."""
    in_small_steps(monkeypatch)
    stopped = Stopped(9)
    with pytest.raises(Interrupted):
        proved_in(moved, progress=stopped, stop=stopped.stop)
    if why == "configuration":
        moved.table["keep_properties"] = ["seenBy", "likes"]
    if why == "a day":
        moved.now = 4e9
    steps, whole = Stopped(1000), Stopped(1000)
    proved_in(moved, restart=why == "restart", progress=steps)
    proved_in(moved, progress=whole)
    assert len(steps.seen) == len(whole.seen)


def test_two_at_once_do_not_read_into_one_file(moved: SyncRig) -> None:
    """The second says so; nothing is mixed."""
    path = scratch_path(moved.config().state_path)
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="another verify"):
            proved(moved)
        other.rollback()
    other.close()


class Writer(threading.Thread):
    """Changes rows until it is told to stop, and syncs now and then."""

    def __init__(self, rig: SyncRig, seed: int) -> None:
        super().__init__()
        self.rig = rig
        self.random = Random(seed)  # noqa: S311 - to choose what is changed
        self.done = threading.Event()
        self.failure: MigrationError | None = None

    def run(self) -> None:
        """Change and sync."""
        number = 0
        while not self.done.is_set():
            number += 1
            self._change(number)
            if number % 4 == 0:
                try:
                    sync(self.rig.config(), full=number % 8 == 0, surroundings=self.rig.around())
                except MigrationError as error:
                    self.failure = error
                    return

    def _change(self, number: int) -> None:
        row = self.random.randrange(1, ROWS)
        vector = f"ARRAY[{', '.join(str(self.random.random()) for _ in range(16))}]::real[]"
        self.rig.execute(
            self.random.choice(
                [
                    f"UPDATE job SET pay = {self.random.random()} WHERE id = {row}",
                    f"UPDATE job SET embedding = {vector}, note = 'other {row}' WHERE id = {row}",
                    f"UPDATE job SET embedding = NULL, tags = NULL WHERE id = {row}",
                    f"DELETE FROM job WHERE id = {row}",
                    f"INSERT INTO job (id, title, embedding) VALUES ({100 + number}, 'new', {vector})",
                ]
            )
        )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_writers_and_syncs_meanwhile_raise_no_alarm(moved: SyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever passes by while both sides are read is looked at again; BYOV_TEST_WRITER_ROUNDS times."""
    in_small_steps(monkeypatch)
    writer = Writer(moved, 1)
    writer.start()
    try:
        for number in range(ROUNDS):
            assert found(proved(moved)) == {}, number
    finally:
        writer.done.set()
        writer.join()
    assert writer.failure is None
    moved.sync(full=True)
    assert not any(proved(moved).tables[0].behind.values())


def test_a_repair_deletes_under_the_ceiling(moved: SyncRig, vandal: Vandal) -> None:
    """Extra and doubled records are deleted when they are few or it was confirmed; nothing else happens before."""
    moved.table["delete_ceiling"] = 1
    vandal.create(vandal.record("3")[1])
    vandal.create(vandal.record("4")[1])
    vandal.delete("5")
    proved(moved)
    before = moved.records()
    with pytest.raises(ConsentNeeded, match="more than the ceiling of 1") as refusal:
        mended(moved)
    assert refusal.value.next_step is not None
    assert "--repair last --confirm-deletes" in refusal.value.next_step
    assert moved.records() == before
    repair(moved.config(), confirm_deletes=True, surroundings=moved.around())
    assert found(proved(moved)) == {}


def test_a_repair_goes_by_what_is_there_now(moved: SyncRig, vandal: Vandal) -> None:
    """The report is old: its extra record has got a row, its missing one has lost it."""
    vandal.create({**vandal.record("3")[1], "byovKey": "200"})
    vandal.delete("4")
    assert set(found(proved(moved))) == {"missing", "extra"}
    moved.execute("INSERT INTO job (id, title) VALUES (200, 'new')")
    moved.execute("DELETE FROM job WHERE id = 4")
    [done] = mended(moved).tables
    assert (done.created, done.updated, done.deleted) == (0, 1, 0)
    assert found(proved(moved)) == {}
    assert moved.sync(full=True).changes == 0


def test_a_repair_leaves_alone_what_nothing_shows_to_be_ours(moved: SyncRig, vandal: Vandal) -> None:
    """A record with our key and no batch: somebody else may have copied the key."""
    vandal.create({"byovKey": "300", "title": "theirs"})
    assert found(proved(moved))["extra"] == {"300": ""}
    [done] = mended(moved).tables
    assert (done.deleted, done.left) == (0, 1)


def test_a_repair_keeps_the_record_and_what_an_application_added(moved: SyncRig, vandal: Vandal) -> None:
    """Its id and its links hang on it."""
    vandal.put("3", lambda held: held.update(pay=-1, seenBy="somebody"))
    record_id, _ = vandal.record("3")
    proved(moved)
    mended(moved)
    assert vandal.record("3")[0] == record_id
    assert (vandal.record("3")[1]["pay"], vandal.record("3")[1]["seenBy"]) == (4.5, "somebody")


def test_a_repair_without_a_report_or_with_anothers_is_refused(moved: SyncRig, tmp_path: Path) -> None:
    """Nothing is guessed."""
    with pytest.raises(ConfigurationError, match="no report"):
        mended(moved)
    path = tmp_path / "report.json"
    report = dataclasses.replace(proved(moved), state_id="another")
    path.write_text(json.dumps(to_report(report)), encoding="utf-8")
    with pytest.raises(Refused, match="another state"):
        repair(moved.config(), str(path), surroundings=moved.around())
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="no report"):
        repair(moved.config(), str(path), surroundings=moved.around())


@pytest.mark.parametrize("lost", ["killed before it was sent", "answer and request lost"])
def test_a_repair_that_never_arrived_does_not_pass_for_done(
    moved: SyncRig, vandal: Vandal, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """What it writes has the content, and had the name, of what the record is from: somebody altered it in between."""
    spoilt = lambda held: held.pop("title")  # noqa: E731
    vandal.put("3", spoilt)
    proved(moved)
    mended(moved)  # now the record comes from a batch of this row alone, as the next repair's will
    vandal.put("3", spoilt)
    proved(moved)
    if lost == "killed before it was sent":
        killed_in(monkeypatch, Delivery, "send", lambda: mended(moved))
        moved.sync()
    else:
        lose_one(monkeypatch, RestWire, "replace")
        mended(moved)
    assert vandal.record("3")[1]["title"]
    assert found(proved(moved)) == {}


def lose_one(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    """The next call of this goes nowhere, and nobody hears of it."""
    whole = getattr(owner, name)

    def lose(*_given: object, **_named: object) -> None:
        monkeypatch.setattr(owner, name, whole)
        raise Ambiguous("the connection was lost")

    monkeypatch.setattr(owner, name, lose)
