"""Tables and targets that are less usual: hashed keys, several tables, records that somebody else made or took."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from byov_migrate import sandbox
from byov_migrate.config import Config
from byov_migrate.errors import TooLarge
from byov_migrate.jobs.backfill import backfill
from byov_migrate.jobs.verify import verify
from byov_migrate.target.listing import Lister
from tests.sync_rig import KEY, SyncRig
from tests.verify_rig import ROWS, Vandal, found, make_table, mended, proved


@pytest.fixture
def rig(database: str, tmp_path: Path) -> Iterator[SyncRig]:
    """A table of every type, not yet moved."""
    with sandbox.running(tmp_path / "sandbox", KEY) as target:
        made = SyncRig(tmp_path, database, target.url)
        make_table(made)
        yield made


@pytest.fixture
def vandal(rig: SyncRig) -> Vandal:
    """Who changes the target behind its back."""
    return Vandal(rig, Random(5))  # noqa: S311 - to choose what is damaged


def test_hashed_keys_are_proved_and_mended(rig: SyncRig, vandal: Vandal) -> None:
    """A hash cannot be looked up in PostgreSQL; rows are found by their places, or by reading all."""
    rig.table |= {"hash_key_values": True, "columns": ["title", "pay"]}
    rig.backfill()
    assert found(proved(rig)) == {}
    one, other, third = sorted(key for key in rig.ids() if "description" in vandal.record(key)[1])[:3]
    vandal.delete(one)
    copy = vandal.record(other)[1]
    vandal.create(copy)
    vandal.create({**copy, "byovKey": "0" * 32})
    record_id, properties = vandal.record(third)
    body = {"label": rig.label, "data": {**properties, "pay": -1}, "options": {"suggestTypes": True}}
    vandal.request("PUT", f"/records/{record_id}", body)
    told = {kind: set(keys) for kind, keys in found(proved(rig)).items()}
    assert told == {"missing": {one}, "doubled": {other}, "extra": {"0" * 32}, "values": {third}, "vectors": {third}}
    mended(rig)
    assert found(proved(rig)) == {}


def test_a_record_that_took_the_place_of_ours_is_found_and_taken_over(rig: SyncRig, vandal: Vandal) -> None:
    """The state would write over one that is gone, and make a second."""
    rig.backfill()
    _, properties = vandal.record("3")
    vandal.delete("3")
    vandal.create(properties)
    record_id, _ = vandal.record("3")
    vandal.attach(record_id, vandal.vector("3"))
    assert found(proved(rig)) == {"values": {"3": "id of the record"}}
    mended(rig)
    assert found(proved(rig)) == {}
    assert vandal.record("3")[0] == record_id
    rig.execute("UPDATE job SET pay = 1 WHERE id = 3")
    assert rig.sync().updated == 1
    assert len(rig.records()) == ROWS


def test_a_record_without_our_key_is_somebody_elses(rig: SyncRig, vandal: Vandal) -> None:
    """It is no difference, and a repair does not touch it."""
    rig.backfill()
    vandal.create({"title": "theirs", "byovSlice": "00"})
    vandal.delete("3")
    assert found(proved(rig)) == {"missing": {"3": ""}}
    mended(rig)
    body = {"labels": [rig.label], "where": {"title": "theirs"}, "limit": 10, "skip": 0}
    assert vandal.request("POST", "/records/search", body)["total"] == 1


def test_an_index_that_is_gone_means_that_no_vector_is_proved(rig: SyncRig, vandal: Vandal) -> None:
    """A part that cannot run is no part that found nothing."""
    rig.backfill()
    rows = vandal.request("GET", "/ai/indexes")["data"]
    vandal.request("DELETE", f"/ai/indexes/{rows[0]['id']}")
    assert len(found(proved(rig))["vectors"]) == ROWS - 1


def test_an_empty_table_and_an_emptied_one(rig: SyncRig, vandal: Vandal) -> None:
    """Nothing to compare is not nothing to find."""
    rig.backfill()
    rig.execute("DELETE FROM job")
    result = proved(rig)
    assert (found(result), result.tables[0].behind["extra"]) == ({}, ROWS)
    vandal.create({"byovKey": "500", "byovSlice": "00"})
    assert found(proved(rig)) == {"extra": {"500": ""}}


def test_without_a_way_to_see_changes_nothing_is_behind(rig: SyncRig) -> None:
    """No sync would bring it."""
    rig.table |= {"window_max_rows": 1}
    rig.backfill()
    rig.execute("UPDATE job SET pay = 0.25 WHERE id = 3")
    rig.execute("DELETE FROM job WHERE id = 4")
    result = proved(rig)
    assert found(result) == {"values": {"3": "pay, byovHash"}, "extra": {"4": ""}}
    mended(rig)
    assert found(proved(rig)) == {}


def test_a_backfill_that_is_not_complete_leaves_rows_missing(rig: SyncRig) -> None:
    """Nothing says that they are to come."""
    backfill(rig.config(), limit=10, surroundings=rig.around())
    assert len(found(proved(rig))["missing"]) == ROWS - 10


def of_two_tables(rig: SyncRig) -> Config:
    """The same rows under two labels."""
    config = rig.config()
    [table] = config.tables
    rig.execute("CREATE TABLE other (LIKE job INCLUDING ALL)")
    rig.execute("INSERT INTO other SELECT * FROM job")
    changed = table.model_copy(update={"name": "public.other", "label": "Other"})
    return config.model_copy(update={"tables": (table, changed)})


def test_two_tables_are_proved_each_for_itself(rig: SyncRig, vandal: Vandal) -> None:
    """Equal keys are not mixed; enough differences in the first leave out the second."""
    config = of_two_tables(rig)
    backfill(config, surroundings=rig.around())
    vandal_of_other = dataclasses.replace(vandal, rig=dataclasses.replace(rig, label="Other"))
    vandal.delete("3")
    vandal_of_other.delete("4")
    result = verify(config, surroundings=rig.around())
    keys = [[(item.kind, item.key) for item in table.differences] for table in result.tables]
    assert keys == [[("missing", "3")], [("missing", "4")]]
    stopped = verify(config, stop_after=1, surroundings=rig.around())
    assert ([table.label for table in stopped.tables], stopped.stopped) == (["Job"], True)


def test_a_chunk_that_is_too_much_for_the_server_is_read_in_smaller_ones(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 408 is no end."""
    rig.backfill()
    original, asked = Lister.read, []

    def impatient(self: Lister, slices: Any, sink: Any) -> Any:
        asked.append(len(slices))
        effort = original(self, slices, sink)
        if len(slices) > 40:
            raise TooLarge
        return effort

    monkeypatch.setattr(Lister, "read", impatient)
    result = proved(rig)
    assert (found(result), result.tables[0].records) == ({}, ROWS)
    assert asked[:4] == [256, 128, 64, 32]
