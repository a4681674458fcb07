"""A state that is lost and rebuilt: nothing is embedded, verify finds nothing, and the next sync is exact."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from byov_migrate.errors import ConfigurationError, ConsentNeeded, Interrupted, Refused
from byov_migrate.jobs import adopt as job
from byov_migrate.jobs.adopt import AdoptResult, TableAdopted, adopt
from byov_migrate.jobs.repair import repair
from byov_migrate.jobs.verify import verify
from byov_migrate.target import provision
from tests.graph_rig import GraphRig, graph_rigged
from tests.models import make_tiny_model
from tests.sync_rig import EXACT, TOLERANCE, SyncRig, rigged

ROWS = 300
KILLS = int(os.environ.get("BYOV_TEST_ADOPT_KILLS", "4"))
CONTENT = {
    "scope": "field, value",
    "ledger": "table_name, key, record_id, hash, batch",
    "vector": "table_name, property, key, text_hash",
    "edge": "(SELECT name FROM link WHERE id = edge.link), source_key, target_key",
    "link": "name, type, source_table, target_table, carried",
}


@pytest.fixture
def rig(database: str, tmp_path: Path) -> Iterator[SyncRig]:
    """A table that was moved."""
    with rigged(tmp_path, database) as made:
        made.make_table(ROWS)
        made.backfill()
        yield made


@pytest.fixture
def graph(tmp_path: Path, database: str) -> Iterator[GraphRig]:
    """Everything linked in every way."""
    with graph_rigged(tmp_path, database) as made:
        made.make_tables()
        made.backfill()
        yield made


def content(path: Path) -> dict[str, set[tuple[Any, ...]]]:
    """What a state knows, its history apart."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {
            table: set(connection.execute(f"SELECT {columns} FROM {table}"))  # fixed names
            for table, columns in CONTENT.items()
        }


def scores(path: Path) -> NDArray[np.float64]:
    """The scores of every vector, in order of keys."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return np.array(connection.execute("SELECT score_0, score_1, score_2 FROM vector ORDER BY key").fetchall())


def proved(rig: SyncRig | GraphRig) -> int:
    """How many differences verify finds."""
    return sum(table.total for table in verify(rig.config(), surroundings=rig.around()).tables)


def lose(rig: SyncRig | GraphRig) -> dict[str, set[tuple[Any, ...]]]:
    """Delete the state; return what it knew."""
    path = rig.config().state_path
    known = content(path)
    path.unlink()
    return known


def adopted(rig: SyncRig | GraphRig, **changed: Any) -> AdoptResult:
    """Adopt with consent for every label."""
    config = rig.config()
    return adopt(config, agreed=[entry.label for entry in config.entries], surroundings=rig.around(**changed))


def markers(rig: SyncRig) -> list[dict[str, Any]]:
    """The label's markers."""
    return list(rig.post("/records/search", {"labels": ["ByovMigration"], "where": {"byovKey": rig.label}})["data"])


def leftovers(rig: SyncRig) -> set[str]:
    """Names of files beside the state."""
    return {path.name for path in rig.config().state_path.parent.iterdir() if "state.db" in path.name}


def change(rig: SyncRig) -> None:
    """100 changes of every kind."""
    rig.execute("UPDATE job SET pay = pay + 1 WHERE id <= 40")
    rig.execute("UPDATE job SET embedding = ARRAY[1, 2, 3, id]::real[] WHERE id BETWEEN 41 AND 60")
    rig.execute("UPDATE job SET title = NULL WHERE id BETWEEN 61 AND 70")
    rig.execute("DELETE FROM job WHERE id BETWEEN 71 AND 80")
    rig.execute(
        "INSERT INTO job (id, title, pay, embedding)"
        " SELECT n, 'new ' || n, n, ARRAY[1, n, 1, 1]::real[] FROM generate_series(901, 920) AS n"
    )


def test_a_rebuilt_state_is_the_one_that_was_lost(rig: SyncRig) -> None:
    """But for its id; the marker names the new one, a generation on, and nothing lies about."""
    told = scores(rig.config().state_path)
    before, [marker] = lose(rig), markers(rig)
    result = adopted(rig)
    path = rig.config().state_path
    assert content(path) == before
    assert np.array_equal(scores(path), told)  # computed again from the source, not RushDB's word
    assert (path.stat().st_mode & 0o777, leftovers(rig)) == (0o600, {"jobs.state.db", "jobs.state.db.lock"})
    [now] = markers(rig)
    assert (now["byovState"], now["byovGeneration"]) == (result.state, 2)
    same = ("byovSource", "byovFormat", "__id")
    assert [now[name] for name in same] == [marker[name] for name in same]
    [table] = result.tables
    assert (table.owner, table.owner_generation) == (marker["byovState"], 1)
    assert (table.records, table.doubled, table.differing, table.gone, table.missing) == (ROWS, 0, 0, 0, 0)
    assert (table.vectors, table.scores_adopted) == ({"description": ROWS}, {"description": 0})
    assert proved(rig) == 0


def test_after_it_a_sync_of_changes_is_exact_and_the_next_finds_nothing(rig: SyncRig) -> None:
    """Those since the state was lost, and those since it was rebuilt."""
    lose(rig)
    adopted(rig)
    change(rig)
    done = rig.sync()
    assert (done.created, done.updated, done.deleted) == (20, 70, 10)
    assert rig.compare() == EXACT
    assert rig.sync().changes == 0
    assert proved(rig) == 0


def test_changes_that_no_state_saw_are_found_by_the_next_sync(rig: SyncRig) -> None:
    """The cursor knows nothing of them: rows and records were compared."""
    change(rig)
    lose(rig)
    [table] = adopted(rig).tables
    assert (table.differing, table.gone, table.missing) == (70, 10, 20)
    assert table.scores_adopted == {"description": 20 + 10}  # another vector, or none, is in the source now
    done = rig.sync()
    assert (done.created, done.updated, done.deleted, done.strategy) == (20, 70, 10, "window")
    assert rig.compare() == EXACT


def test_a_backfill_after_it_has_nothing_to_do(rig: SyncRig) -> None:
    """Its plan is complete."""
    lose(rig)
    adopted(rig)
    [table] = rig.backfill().tables
    assert (table.this_run.rows, table.rows_stored, table.complete) == (0, ROWS, True)


def test_a_vector_that_is_not_attached_is_not_taken_for_one(rig: SyncRig) -> None:
    """A record whose batch was killed between its two calls says that it has one."""
    record = next(item for item in rig.records() if item["byovKey"] == "7")
    body = {name: value for name, value in record.items() if not name.startswith("__")}
    rig.post("/records/delete", {"labels": [rig.label], "where": {"$id": {"$in": [record["__id"]]}}})
    options = {"suggestTypes": True, "returnResult": True}
    rig.post("/records/import/json", {"label": rig.label, "data": [body], "options": options})
    lose(rig)
    [table] = adopted(rig).tables
    assert (table.vectors, table.differing) == ({"description": ROWS - 1}, 1)
    rig.sync()
    assert rig.compare() == EXACT


def test_of_doubled_keys_the_first_is_kept_and_repair_removes_the_others(rig: SyncRig) -> None:
    """And records of others are none of ours."""
    first = rig.ids()
    copies = [
        {name: value for name, value in record.items() if not name.startswith("__")} for record in rig.records()[:3]
    ]
    options = {"suggestTypes": True, "returnResult": True}
    theirs = {"title": "somebody else's"}
    rig.post("/records/import/json", {"label": rig.label, "data": [*copies, theirs], "options": options})
    lose(rig)
    [table] = adopted(rig).tables
    assert (table.records, table.doubled, table.others) == (ROWS, 3, 1)
    assert proved(rig) > 0
    repair(rig.config(), surroundings=rig.around())
    assert (rig.compare(), rig.ids()) == (EXACT, first)
    assert proved(rig) == 0


def test_the_lost_state_only_reads_when_it_turns_up(rig: SyncRig, tmp_path: Path) -> None:
    """Exit 4, as any state that the marker does not name."""
    path = rig.config().state_path
    path.rename(tmp_path / "kept")
    adopted(rig)
    path.unlink()
    (tmp_path / "kept").rename(path)
    with pytest.raises(Refused, match="belongs to another state"):
        rig.sync()


def test_commands_that_meet_a_label_without_its_state_name_the_way(rig: SyncRig) -> None:
    """And the empty state that they leave is no hindrance."""
    before = lose(rig)
    with pytest.raises(Refused, match="belongs to another state") as refused:
        rig.backfill()
    assert refused.value.next_step == "if that state is lost: byov-migrate adopt"
    adopted(rig)
    assert content(rig.config().state_path) == before


def test_a_state_that_knows_records_is_refused(rig: SyncRig) -> None:
    """It is not lost."""
    before = content(rig.config().state_path)
    with pytest.raises(Refused, match=f"it knows {ROWS} records"):
        adopted(rig)
    assert (content(rig.config().state_path), markers(rig)[0]["byovGeneration"]) == (before, 1)


def test_without_the_hash_key_it_says_what_that_costs(rig: SyncRig) -> None:
    """And makes no new one."""
    lose(rig)
    key = rig.folder / "jobs.hash-key"
    key.unlink()
    with pytest.raises(Refused, match="written and embedded anew"):
        adopted(rig)
    assert not key.exists()
    with pytest.raises(Refused, match="belongs to another state"):
        rig.backfill()
    with pytest.raises(Refused, match="another hash key"):
        adopted(rig)
    assert markers(rig)[0]["byovGeneration"] == 1


def test_records_without_a_marker_are_refused(rig: SyncRig) -> None:
    """Nobody says where they come from; without records either there is nothing to adopt."""
    lose(rig)
    where = {"$id": {"$in": [record["__id"] for record in markers(rig)]}}
    rig.post("/records/delete", {"labels": ["ByovMigration"], "where": where})
    with pytest.raises(Refused, match="no marker that says from where"):
        adopted(rig)
    with pytest.raises(Refused, match="nothing of ours"):
        adopted(replace(rig, label=f"{rig.label}x"))
    assert not rig.config().state_path.exists()


def test_another_source_is_refused_until_it_is_said_to_be_the_same(rig: SyncRig) -> None:
    """After a move the system has another identifier."""
    system = markers(rig)[0]["byovSource"].partition("/")[0]
    lose(rig)
    with pytest.raises(Refused, match="come from") as refused:
        adopted(replace(rig, state={"source_id": "new"}))
    assert f'source_id = "{system}"' in str(refused.value.next_step)
    adopted(replace(rig, state={"source_id": system}))
    other = replace(rig, state={"url": "sqlite:///other.db", "source_id": "new"})
    with pytest.raises(Refused, match="come from"):
        adopted(other)


def test_nobody_asked_or_another_word_changes_nothing(rig: SyncRig) -> None:
    """6 and 2, after everything was counted; a script gives the label."""
    lose(rig)
    with pytest.raises(ConsentNeeded, match=f"{ROWS} records of {rig.label} would be adopted") as needed:
        adopt(rig.config(), surroundings=rig.around())
    assert needed.value.next_step == f"if meant: byov-migrate adopt --yes {rig.label}"
    asked: list[TableAdopted] = []

    def answer(found: TableAdopted) -> str:
        asked.append(found)
        return "no"

    with pytest.raises(ConfigurationError, match="is not"):
        adopt(rig.config(), ask=answer, surroundings=rig.around())
    with pytest.raises(ConfigurationError, match="--yes Other"):
        adopt(rig.config(), agreed=["Other"], surroundings=rig.around())
    assert [found.records for found in asked] == [ROWS]
    assert (leftovers(rig), markers(rig)[0]["byovGeneration"]) == ({"jobs.state.db.lock"}, 1)


@pytest.mark.parametrize("place", ["Adopting", "_require_consent", "provision", "set_generation"])
def test_broken_off_anywhere_it_begins_again(rig: SyncRig, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Nothing is left of the first try but, perhaps, a marker that names a state which never came."""
    before = lose(rig)
    with monkeypatch.context() as patch:
        if place == "provision":
            patch.setattr(provision, "take_over", taken_over_and_lost(provision.take_over))
        else:
            patch.setattr(job, place, lose_power)
        with pytest.raises(PowerLost):
            adopted(rig)
    assert leftovers(rig) == {"jobs.state.db.lock"}
    result = adopted(rig)
    assert result.generation == (3 if place == "provision" else 2)
    assert content(rig.config().state_path) == before
    assert rig.sync().changes == 0


def test_what_is_written_while_a_person_thinks_is_noticed(rig: SyncRig) -> None:
    """A run of the lost state that is still at work somewhere; once it has ended, all is compared anew."""
    lose(rig)
    record = {name: value for name, value in rig.records()[0].items() if not name.startswith("__")}

    def answer(_found: TableAdopted) -> str:
        data = [{**record, "byovKey": "of-that-run"}]
        options = {"suggestTypes": True, "returnResult": True}
        rig.post("/records/import/json", {"label": rig.label, "data": data, "options": options})
        return rig.label

    with pytest.raises(Refused, match=f"{ROWS + 1} records now and held {ROWS}"):
        adopt(rig.config(), ask=answer, surroundings=rig.around())
    assert not rig.config().state_path.exists()
    [table] = adopted(rig).tables
    assert (table.records, table.gone) == (ROWS + 1, 1)


class PowerLost(Exception):
    """Stands for a kill."""


def lose_power(*_arguments: Any, **_named: Any) -> None:
    """Instead of something."""
    raise PowerLost


def taken_over_and_lost(take_over: Any) -> Any:
    """After the marker is written."""

    def both(*arguments: Any) -> None:
        take_over(*arguments)
        raise PowerLost

    return both


RUN = """
import sys
from pathlib import Path
from byov_migrate.jobs.adopt import adopt
from tests.sync_rig import SyncRig
rig = SyncRig(Path(sys.argv[1]), *sys.argv[2:5], label=sys.argv[5])
adopt(rig.config(), agreed=[rig.label], surroundings=rig.around())
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_begins_again(rig: SyncRig) -> None:
    """A process that is gone; files of it lie beside the place of the state."""
    told = scores(rig.config().state_path)
    before, kills, moments = lose(rig), 0, random.Random(7)  # noqa: S311  moments, not secrets
    made = rig.config().state_path.with_name(".jobs.state.db.adopting")
    arguments = [str(rig.folder), rig.dsn, rig.url, rig.key, rig.label]
    for _ in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", RUN, *arguments], cwd=Path(__file__).parents[2])
        while process.poll() is None and not made.exists():
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        if rig.config().state_path.exists():
            break
    assert kills
    if not rig.config().state_path.exists():
        adopted(rig)
    assert content(rig.config().state_path) == before
    assert np.array_equal(scores(rig.config().state_path), told)
    assert leftovers(rig) == {"jobs.state.db", "jobs.state.db.lock"}
    assert (rig.sync().changes, proved(rig)) == (0, 0)


def test_hashed_keys_cannot_be_looked_up_and_the_next_sync_reads_every_row(rig: SyncRig) -> None:
    """Which is what it does whenever something of them is unsettled."""
    rig = replace(rig, label=f"{rig.label}H", state={"url": "sqlite:///hashed.db", "hash_key": {"file": "h.hash-key"}})
    rig.table = {"columns": ["title", "pay", "status"], "hash_key_values": True}
    rig.backfill()
    change(rig)
    lose(rig)
    [table] = adopted(rig).tables
    assert (table.differing, table.gone, table.missing) == (70, 10, 20)
    done = rig.sync()
    assert (done.created, done.updated, done.deleted, done.strategy) == (20, 70, 10, "full")
    assert proved(rig) == 0


def test_a_row_that_cannot_be_sent_is_told_by_the_next_sync(rig: SyncRig) -> None:
    """That it was rejected is known to nobody; its record stays as it was."""
    rig.execute("UPDATE job SET pay = 'NaN' WHERE id = 3")
    assert rig.sync().rejects == 1
    lose(rig)
    [table] = adopted(rig).tables
    assert (table.differing, table.missing) == (1, 0)
    done = rig.sync()
    assert (done.rejects, done.rejected_new, done.changes) == (1, 1, 1)


def test_a_stop_leaves_nothing(rig: SyncRig) -> None:
    """Exit 130; the same command begins again. What an earlier one left that was killed is of no use."""
    left = rig.config().state_path.with_name(".jobs.state.db.adopting")
    shutil.copy(rig.config().state_path, left)
    before = lose(rig)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        adopted(rig, stop=stop)
    assert leftovers(rig) == {"jobs.state.db.lock"}
    left.write_bytes(b"half a state")
    adopted(rig)
    assert content(rig.config().state_path) == before
    assert leftovers(rig) == {"jobs.state.db", "jobs.state.db.lock"}


def test_links_are_known_again_and_the_next_run_is_exact(graph: GraphRig) -> None:
    """Those that rows carry by what the records hold, those of pairs by what RushDB lists."""
    before = lose(graph)
    adopted(graph)
    assert content(graph.config().state_path) == before
    graph.execute("UPDATE job SET company_id = 2 WHERE id <= 20; DELETE FROM job_tag WHERE job_id < 20")
    graph.execute("UPDATE job SET skills = ARRAY['skill 1', 'brand new'] WHERE id BETWEEN 21 AND 30")
    graph.sync()
    assert graph.differences() == {}
    assert proved(graph) == 0


def test_labels_that_nobody_claimed_are_left_to_the_backfill(tmp_path: Path, database: str) -> None:
    """Of several tables one was moved, and one is empty."""
    with graph_rigged(tmp_path, database) as graph:
        graph.make_tables()
        graph.execute("DELETE FROM job_tag; DELETE FROM tag")
        graph.backfill(tables=["company", "tag"])
        lose(graph)
        found = {table.label: table.records for table in adopted(graph).tables}
        assert found == {graph.label("company"): 7, graph.label("tag"): 0}
        graph.backfill()
        assert graph.differences() == {}
        assert proved(graph) == 0


def test_links_that_changed_while_no_state_looked_are_made_right(graph: GraphRig) -> None:
    """Old ones of carried links and of pairs have to go."""
    graph.execute("UPDATE job SET company_id = 2 WHERE id <= 20; DELETE FROM job_tag WHERE job_id < 20")
    graph.execute("UPDATE job SET skills = ARRAY['skill 1', 'brand new'] WHERE id BETWEEN 21 AND 30")
    lose(graph)
    adopted(graph)
    graph.sync()
    assert graph.differences() == {}
    assert proved(graph) == 0


@pytest.mark.slow
def test_with_a_model_no_text_is_embedded(database: str, tmp_path: Path) -> None:
    """The scores are RushDB's word; a model that gives other vectors is refused."""
    make_tiny_model(tmp_path / "model", dimension=32)
    make_tiny_model(tmp_path / "other", dimension=32, seed=1)
    with rigged(tmp_path, database) as rig:
        rig.execute("CREATE TABLE job (id int PRIMARY KEY, title text, body text)")
        rig.execute("INSERT INTO job SELECT n, 'posting ' || n, 'text ' || n FROM generate_series(1, 60) AS n")
        embedding = {"property": "description", "text": "{body}", "model": "tiny"}
        rig.table = {"columns": ["id", "title"], "embeddings": [embedding]}
        rig.models = {"tiny": {"path": str(tmp_path / "model"), "dtype": "float32"}}
        rig.backfill()
        told = scores(rig.config().state_path)
        before = lose(rig)
        rig.events.clear()
        with pytest.raises(Refused, match=r"vectors of .* were made by"):
            adopted(replace(rig, models={"tiny": {"path": str(tmp_path / "other"), "dtype": "float32"}}))
        [table] = adopted(rig).tables
        assert table.scores_adopted == table.vectors == {"description": 60}
        assert content(rig.config().state_path) == before
        assert np.abs(scores(rig.config().state_path) - told).max() < TOLERANCE
        rig.execute("UPDATE job SET body = 'another' WHERE id = 1; DELETE FROM job WHERE id = 2")
        assert "model" not in {action for action, _ in rig.events}
        done = rig.sync()
        assert (done.updated, done.deleted, done.texts) == (1, 1, 1)
        result = verify(rig.config(), surroundings=rig.around())
        assert (result.exit_code, result.tables[0].vectors, result.tables[0].adopted) == (0, 59, 58)
