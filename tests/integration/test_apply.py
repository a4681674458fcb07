"""Settings that are edited after a backfill: stated with their class, written with `--apply`, and nothing else is."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from byov_migrate import backfill
from byov_migrate.errors import ConsentNeeded, Interrupted, Refused
from byov_migrate.jobs.backfill import BackfillResult
from byov_migrate.jobs.status import status
from byov_migrate.jobs.sync import TableSync, sync_keys
from byov_migrate.jobs.verify import verify
from byov_migrate.report.results import print_backfill
from byov_migrate.state.scope import APPLY
from tests.graph_rig import GraphRig, graph_rigged
from tests.models import make_tiny_model
from tests.sync_rig import FILL, SyncRig, rigged

ROWS = int(os.environ.get("BYOV_TEST_APPLY_ROWS", "60"))
TEXTS = ROWS - 5
PAID = ROWS - 10
WAYS = ("both", "unique", "cache", "neither")
"""Who can write without reading first, or holds the vectors: RushDB's constraint, the state's cache."""
DESCRIPTION = {"property": "description", "text": "{body}", "model": "tiny"}
SUMMARY = {"property": "summary", "text": "{title}", "model": "tiny"}
READY = {
    "columns": ["id", "title", "pay", "status"],
    "embeddings": [{"property": "description", "vector": "embedding"}],
}
BODIES = f"""
ALTER TABLE job ADD body text;
UPDATE job SET body = CASE WHEN id > 5 THEN 'a text of its own, number ' || id END,
               pay = CASE WHEN id > 10 THEN pay END, status = CASE WHEN id > {ROWS - 6} THEN 'closed' ELSE 'open' END;
"""
OURS = ("byovKey", "byovHash", "byovBatch", "byovSlice", "byovText_description", "byovText_summary")


@dataclass(frozen=True)
class Change:
    """An edit, and what it has to come to. again: unchanged texts embedded, where nothing holds their vectors."""

    table: Mapping[str, Any]
    fields: Sequence[str]
    updated: int = 0
    deleted: int = 0
    texts: int = 0
    again_unique: int = 0
    again_neither: int = 0
    rejected: int = 0
    columns: Mapping[str, str] = field(default_factory=lambda: {"id": "id", "title": "title", "pay": "pay"})
    rows: str = "true"


def described(**changes: Any) -> dict[str, Any]:
    """The embedding, edited."""
    return {"embeddings": [{**DESCRIPTION, **changes}]}


PLAIN = {"id": "id", "title": "title", "pay": "pay"}
NEW = [
    f"embeddings[summary].{name}" for name in ("empty_text", "fingerprint", "send_text", "similarity", "spare", "text")
]
CHANGES: dict[str, Change] = {
    "column added": Change(
        {"columns": ["id", "title", "pay", "hits"]},
        ["columns"],
        updated=ROWS,
        again_neither=TEXTS,
        columns={**PLAIN, "hits": "hits"},
    ),
    "column removed": Change(
        {"columns": ["id", "title"]},
        ["columns"],
        updated=PAID,
        again_unique=PAID,
        again_neither=PAID,
        columns={"id": "id", "title": "title"},
    ),
    "column renamed": Change(
        {"rename": {"title": "name"}},
        ["rename"],
        updated=ROWS,
        again_unique=TEXTS,
        again_neither=TEXTS,
        columns={"id": "id", "title": "name", "pay": "pay"},
    ),
    "type": Change(
        {"types": {"pay": "text"}},
        ["types"],
        updated=PAID,
        again_neither=PAID,
        columns={**PLAIN, "pay": "pay"},
    ),
    "where": Change({"where": [f"id <= {PAID}"]}, ["where"], deleted=10, rows=f"id <= {PAID}"),
    "deleted_when": Change({"deleted_when": "status = closed"}, ["deleted_when"], deleted=6, rows="status = 'open'"),
    "send_text": Change(
        described(send_text=True), ["embeddings[description].send_text"], updated=TEXTS, again_neither=TEXTS
    ),
    "spare": Change(
        described(spare=False),
        ["embeddings[description].spare"],
        updated=TEXTS,
        again_unique=TEXTS,
        again_neither=TEXTS,
    ),
    "empty_text": Change(described(empty_text="reject"), ["embeddings[description].empty_text"], rejected=ROWS - TEXTS),
    "new embedding": Change({"embeddings": [DESCRIPTION, SUMMARY]}, NEW, updated=ROWS, texts=ROWS, again_neither=TEXTS),
}


@pytest.fixture
def rig(database: str, tmp_path: Path) -> Iterator[SyncRig]:
    """60 rows with texts and a tiny model; nothing moved yet."""
    model = make_tiny_model(tmp_path / "model", dimension=32)
    with rigged(tmp_path, database) as made:
        made.models = {"tiny": {"path": str(model), "dtype": "float32"}}
        made.table = {"columns": ["id", "title", "pay"], "embeddings": [DESCRIPTION]}
        made.make_table(ROWS)
        made.execute(BODIES)
        yield made


@pytest.fixture
def ready(database: str, tmp_path: Path) -> Iterator[SyncRig]:
    """60 rows with ready vectors."""
    with rigged(tmp_path, database) as made:
        made.make_table(ROWS)
        yield made


def applied(rig: SyncRig, **asked: Any) -> TableSync:
    """What `backfill --apply` did with the table."""
    [table] = backfill(rig.config(), apply=True, surroundings=rig.around(), **asked).applied
    return table


def interrupted(rig: SyncRig) -> None:
    """An apply that is stopped before its first row."""
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        backfill(rig.config(), apply=True, surroundings=rig.around(stop=stop))


def refusal(job: Callable[[], Any]) -> Refused:
    """Of a run under edited settings."""
    with pytest.raises(Refused) as refused:
        job()
    return refused.value


def expected(rig: SyncRig, change: Change) -> dict[str, dict[str, Any]]:
    """Key -> properties that the records should have, ours apart."""
    carriers = {name: "" for item in rig.table["embeddings"] for name in _carriers(item)}
    found = {}
    with psycopg.connect(rig.dsn, row_factory=dict_row) as connection:
        for row in connection.execute(f"SELECT * FROM job WHERE {change.rows}".encode()):
            own = {name: row[column] for column, name in change.columns.items() if row[column] is not None}
            if rig.table.get("types") and "pay" in own:
                own["pay"] = f"{own['pay']:g}"
            texts = {"description": row["body"], "summary": row["title"]}
            here = {name: text for name, text in carriers.items() if texts[name.removesuffix("Alt")] is not None}
            if rig.table["embeddings"][0].get("send_text") and "description" in here:
                here["description"] = row["body"]
            found[str(row["id"])] = own | here
    return found


def _carriers(embedding: Mapping[str, Any]) -> list[str]:
    name = embedding["property"]
    return [name, f"{name}Alt"] if embedding.get("spare", True) else [name]


def stored(rig: SyncRig) -> dict[str, dict[str, Any]]:
    """Key -> properties of the records, ours apart."""
    return {
        record["byovKey"]: {
            name: value for name, value in record.items() if not name.startswith("__") and name not in OURS
        }
        for record in rig.records()
    }


def verified(rig: SyncRig | GraphRig) -> int:
    """A whole verify's exit code."""
    return verify(rig.config(), surroundings=rig.around()).exit_code


def migrated(rig: SyncRig, way: str) -> None:
    """The first load, in one of the ways."""
    rig.state = {"vectors": way in ("both", "cache")}
    if way in ("both", "unique"):
        rig.make_keys_unique()
    rig.backfill()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CHANGES)
def test_an_edit_is_refused_with_its_command_and_applied(rig: SyncRig, name: str, way: str) -> None:
    """Only what changed is written; a text is embedded again only where a value has to go and nothing holds it."""
    change = CHANGES[name]
    migrated(rig, way)
    edited(rig, change, way)


@pytest.mark.skipif("BYOV_TEST_APPLY_ROWS" not in os.environ, reason="BYOV_TEST_APPLY_ROWS says of how many rows")
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("way", ["both", "unique", "cache"])
def test_edits_one_after_the_other_of_one_large_table(rig: SyncRig, way: str) -> None:
    """Each of them taken back before the next: at a size where a needless write or text would be felt."""
    migrated(rig, way)
    base = rig.table
    for name, change in CHANGES.items():
        edited(rig, change, way)
        if name == "new embedding":
            continue  # the last one, and to take it away is another migration
        rig.table = base
        backfill(rig.config(), apply=True, confirm_deletes=True, surroundings=rig.around())
        assert verified(rig) == 0, name


def edited(rig: SyncRig, change: Change, way: str) -> None:
    """Make the edit; what is refused, said, written, embedded and deleted is what it says."""
    ids = rig.ids()
    rig.table = {**rig.table, **change.table}
    for job in (rig.backfill, rig.sync):
        refused = refusal(job)
        assert str(refused.next_step).startswith(APPLY)
        assert all(f"tables[public.job].{field} is now" in str(refused) for field in change.fields)
    done = applied(rig)
    again = {"unique": change.again_unique, "neither": change.again_neither}.get(way, 0)
    assert (done.created, done.updated, done.deleted, done.rejected_new) == (
        0,
        change.updated,
        change.deleted,
        change.rejected,
    )
    assert (done.texts, done.texts_again) == (change.texts + again, again)
    assert stored(rig) == expected(rig, change)
    assert {key: ids[key] for key in rig.ids()} == rig.ids()
    assert verified(rig) == (5 if change.rejected else 0)
    result = backfill(rig.config(), apply=True, surroundings=rig.around())
    assert (result.changes, result.applied) == ((), ())
    assert rig.sync(full=True).changes == 0


def test_the_edit_is_said_field_by_field_before_anything_is_written(
    ready: SyncRig, capsys: pytest.CaptureFixture[str]
) -> None:
    """Old and new."""
    ready.backfill()
    ready.table = {"columns": ["id", "title", "status"], "rename": {"title": "name"}}
    ready.events.clear()
    result = backfill(ready.config(), apply=True, surroundings=ready.around())
    said = {fields["field"]: (fields["old"], fields["new"]) for action, fields in ready.events if action == "apply"}
    assert said == {
        "tables[public.job].columns": (READY["columns"], ["id", "title", "status"]),
        "tables[public.job].rename": ({}, {"title": "name"}),
    }
    assert [item.field for item in result.changes] == list(said)
    print_backfill(result)
    printed = capsys.readouterr().out.splitlines()
    assert printed[1] == "applied tables[public.job].rename: {'title': 'name'}, was {}"
    assert printed[2] == "Job: 0 new, 60 changed, 0 deleted, 0 as they were; 0 texts embedded"
    assert verified(ready) == 0


def test_a_wider_where_brings_rows_and_a_narrow_one_asks_before_it_deletes_many(ready: SyncRig) -> None:
    """Under the ceiling of deletes; what was begun is gone on with."""
    ready.table = {"where": ["id <= 20"], "delete_ceiling": 5}
    ready.backfill()
    ready.table = {"where": [], "delete_ceiling": 5}
    done = applied(ready)
    assert (done.created, done.updated) == (ROWS - 20, 0)
    ready.table = {"where": ["id <= 50"], "delete_ceiling": 5}
    with pytest.raises(ConsentNeeded) as asked:
        applied(ready)
    assert asked.value.next_step == "if meant: byov-migrate backfill --apply --confirm-deletes"
    assert len(ready.records()) == ROWS
    assert applied(ready, confirm_deletes=True).deleted == 10
    assert len(ready.records()) == 50
    assert verified(ready) == 0


def test_what_is_left_of_an_apply_is_done_by_any_later_run(ready: SyncRig) -> None:
    """A stop after the scope was stored; status says so; a sync of one key does not hide its record from it."""
    ready.make_keys_unique()
    ready.backfill()
    ready.table = {"columns": ["id", "title", "status"]}
    interrupted(ready)
    [table] = status(ready.config(), surroundings=ready.around()).tables
    assert table.applying
    ready.execute("UPDATE job SET title = 'other' WHERE id = 7")
    sync_keys(ready.config(), ["7"], surroundings=ready.around())
    assert "pay" not in stored(ready)["7"]
    assert "pay" in stored(ready)["8"]
    assert ready.sync().updated == ROWS - 1
    assert all("pay" not in record for record in stored(ready).values())
    [table] = status(ready.config(), surroundings=ready.around()).tables
    assert not table.applying
    assert ready.sync().changes == 0
    assert verified(ready) == 0


def test_a_second_edit_on_top_of_an_unfinished_one(ready: SyncRig) -> None:
    """What the first one removed is gone too, and what the second one put back is there."""
    ready.make_keys_unique()
    ready.backfill()
    ready.table = {"columns": ["id", "title"]}  # without pay and status
    interrupted(ready)
    ready.table = {"columns": ["id", "title", "status", "hits"]}
    applied(ready)
    names = {name for record in stored(ready).values() for name in record}
    assert names == {"id", "title", "status", "hits", "description", "descriptionAlt"}
    assert verified(ready) == 0


def test_a_backfill_that_is_not_complete_is_applied_to_and_goes_on(ready: SyncRig) -> None:
    """With --limit only the rows that are there are written; rows that were rejected are read again."""
    ready.execute("ALTER TABLE job ADD wide numeric")
    ready.execute("UPDATE job SET wide = 12345678901234567890.5 WHERE id BETWEEN 5 AND 14")
    ready.table = {"columns": ["id", "title", "wide"]}
    ready.table["reject_ceiling"] = 100
    backfill(ready.config(), limit=20, surroundings=ready.around())
    first = {int(key) for key in stored(ready)}
    ready.table = {**ready.table, "types": {"wide": "text"}, "columns": ["title", "wide"]}
    result = backfill(ready.config(), apply=True, limit=20, surroundings=ready.around())
    assert first == {*range(1, 5), *range(15, 21)}
    assert [(table.updated, table.created) for table in result.applied] == [(len(first), 0)]
    assert {int(key) for key in stored(ready)} == set(range(1, 21))
    backfill(ready.config(), surroundings=ready.around())
    assert len(ready.records()) == ROWS
    assert status(ready.config(), surroundings=ready.around()).tables[0].rejects == 0
    assert verified(ready) == 0


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "label": ({"label": "Posting"}, "give the new ones a state and a label of their own"),
    "key": ({"key": ["title"]}, "give the new ones a state and a label of their own"),
    "hash_key_values": ({"hash_key_values": True, "columns": ["title"]}, "a state and a label of their own"),
    "embedding gone": ({"embeddings": []}, "give the new ones a state and a label of their own"),
    "vector": (
        {"embeddings": [{"property": "description", "vector": "other"}]},
        "byov-migrate reembed",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_needs_more_than_writing_is_refused(ready: SyncRig, name: str) -> None:
    """By --apply as by any run, with what to do instead; together with other edits too."""
    ready.execute("ALTER TABLE job ADD other real[]; UPDATE job SET other = embedding, title = 't' || id")
    ready.execute("ALTER TABLE job ALTER title SET NOT NULL; ALTER TABLE job ADD UNIQUE (title)")
    ready.backfill()
    before = stored(ready)
    edit, advice = REFUSED[name]
    label = ready.label
    ready.table = {"columns": ["id", "title"], **edit}
    for job in (ready.backfill, lambda: applied(ready)):
        assert advice in str(refusal(job).next_step)
    ready.label, ready.table = label, {}
    assert stored(ready) == before
    assert ready.sync(full=True).changes == 0


KILLED_EDITS: dict[str, dict[str, Any]] = {
    "a column less, one more": {"columns": ["id", "title", "status", "hits"]},
    "another embedding": {
        "columns": ["id", "title", "pay", "status"],
        "embeddings": [{"property": "description", "vector": "embedding"}, {"property": "summary", "vector": "other"}],
    },
}
KILLED = """
import json, sys
from pathlib import Path
from byov_migrate import backfill
from tests.sync_rig import SyncRig
given = json.loads(sys.argv[1])
rig = SyncRig(Path(given.pop("folder")), **given)
config = rig.config()
small = config.target.model_copy(update={"batch_rows": 50})
backfill(config.model_copy(update={"target": small}), apply=True, surroundings=rig.around())
"""


def _settled(rig: SyncRig, batches: set[str]) -> int:
    """Rows of the ledger that stand in other batches than these."""
    with sqlite3.connect(f"file:{rig.config().state_path}?mode=ro", uri=True, timeout=5) as connection:
        found = connection.execute("SELECT batch FROM ledger WHERE hash != ''").fetchall()
    return sum(batch not in batches for (batch,) in found)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("edit", KILLED_EDITS)
@pytest.mark.parametrize("unique", [False, True], ids=["replaced", "merged"])
def test_killed_in_the_middle_the_next_run_goes_on(ready: SyncRig, edit: str, *, unique: bool) -> None:
    """And what the killed one wrote and proved is not written again."""
    rows = 4000
    ready.execute(FILL, (ROWS + 1, rows))
    ready.execute("ALTER TABLE job ADD other real[]")
    ready.execute("UPDATE job SET other = ARRAY[cos(id), id, 1]::real[]")
    if unique:
        ready.make_keys_unique()
    ready.backfill()
    before = {record["byovBatch"] for record in ready.records()}
    ready.table = KILLED_EDITS[edit]
    given = {"dsn": ready.dsn, "url": ready.url, "key": ready.key, "label": ready.label, "table": ready.table}
    root = Path(__file__).parents[2]
    arguments = json.dumps({"folder": str(ready.folder), **given})
    process = subprocess.Popen([sys.executable, "-c", KILLED, arguments], cwd=root, stderr=subprocess.PIPE)
    while process.poll() is None and not _settled(ready, before):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done_before = _settled(ready, before)
    assert 0 < done_before < rows
    ready.patience = "1s"
    [table] = backfill(ready.config(), surroundings=ready.around()).applied
    assert table.updated + table.unchanged == rows
    assert table.updated <= rows - done_before
    names = {frozenset(record) for record in stored(ready).values()}
    carriers = {f"{item.property_name}{end}" for item in ready.config().tables[0].embeddings for end in ("", "Alt")}
    assert names == {frozenset({*ready.table["columns"], *carriers})}
    assert verified(ready) == 0


@pytest.fixture
def graph(tmp_path: Path, database: str) -> Iterator[GraphRig]:
    """Everything linked in every way."""
    with graph_rigged(tmp_path, database) as made:
        made.make_tables()
        yield made


def apply_to(graph: GraphRig) -> BackfillResult:
    """`backfill --apply`."""
    return backfill(graph.config(), apply=True, surroundings=graph.around())


@pytest.mark.parametrize("unique", [False, True], ids=["replaced", "appended to"])
def test_links_that_are_new_are_made_and_those_that_are_gone_removed(graph: GraphRig, *, unique: bool) -> None:
    """Also the keys that records held for them."""
    graph.links_wanted = ["AT", "WANTS", "TAGGED"]
    graph.backfill()
    if unique:
        graph.make_keys_unique()
    graph.links_wanted = ["AT", "IN", "SITS", "PLACED"]
    assert str(refusal(graph.backfill).next_step).startswith(APPLY)
    apply_to(graph)
    assert graph.differences() == {}
    assert [graph.links("WANTS"), graph.links("TAGGED")] == [[], []]
    held = {name for record in graph.records("job").values() for name in record if name.startswith("byovRef_")}
    assert held == {"byovRef_AT", "byovRef_IN", "byovRef_PLACED"}
    assert verified(graph) == 0
    graph.links_wanted = []
    apply_to(graph)
    assert [graph.links(kind) for kind in ("AT", "IN", "SITS", "PLACED")] == [[]] * 4
    assert verified(graph) == 0


def test_the_properties_of_a_link_that_are_gone_do_not_stay(graph: GraphRig) -> None:
    """Links are made anew without them."""
    graph.links_wanted = ["TAGGED"]
    graph.backfill()
    assert {tuple(properties) for _, _, properties in graph.links("TAGGED")} >= {("level",)}
    graph.properties = ()
    apply_to(graph)
    assert {tuple(properties) for _, _, properties in graph.links("TAGGED")} == {()}
    assert graph.differences() == {}
    assert verified(graph) == 0


def test_an_entry_that_is_gone_keeps_its_records_and_it_is_said(graph: GraphRig) -> None:
    """Taking them back is remove's."""
    graph.links_wanted = ["AT", "PLACED"]
    graph.backfill()
    cities = graph.records("city")
    graph.events.clear()
    graph.links_wanted = ["AT"]
    graph.overlay = {"nodes": [{"label": graph.label("skill"), "table": "job", "column": "skills"}]}
    apply_to(graph)
    [said] = [fields for action, fields in graph.events if action == "not-configured"]
    assert said["table"] == "job.city"
    assert "byov-migrate remove --table job.city" in said["because"]
    assert graph.records("city").keys() == cities.keys()
    assert graph.links("PLACED") == []
