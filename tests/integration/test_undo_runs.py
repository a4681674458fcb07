"""Migrations taken back: nothing of ours is left, nothing of others is touched, and the table can be moved again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo
from sqlalchemy import func, select

from byov_migrate import backfill, verify
from byov_migrate.config import TableConfig
from byov_migrate.errors import (
    ConfigurationError,
    ConsentNeeded,
    DifferencesFound,
    Interrupted,
    MigrationError,
    Refused,
    Unavailable,
)
from byov_migrate.jobs.backup import backup_state, restore_state
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.undo import Extent, KeptIndex, TableUndone, undo
from byov_migrate.state import schema
from byov_migrate.state.forgetting import Forgetting
from byov_migrate.state.journal import Journal
from byov_migrate.target.looking import Lookout
from byov_migrate.target.provision import open_wire
from byov_migrate.target.rest import RestWire
from byov_migrate.target.wire import Outbound
from tests.sync_rig import DIMENSION, EXACT, SyncRig, rigged

ROWS = 60
OTHERS = 7
STRANGE = {"byovKey": "of-nobody", "byovBatch": "0" * 16}


@pytest.fixture
def rig(database: str, tmp_path: Path) -> Iterator[SyncRig]:
    """A table that was moved into a label where others have records too."""
    with rigged(tmp_path, database) as made:
        made.make_table(ROWS)
        write(made, [{"name": f"other {number}", "id": number} for number in range(OTHERS)])
        made.backfill()
        yield made
        discard(made, [record["__id"] for record in others(made)])


def write(rig: SyncRig, rows: list[dict[str, Any]], label: str | None = None) -> list[str]:
    """Records as an application writes them; their ids."""
    options = {"suggestTypes": True, "returnResult": True}
    answer = rig.post("/records/import/json", {"label": label or rig.label, "data": rows, "options": options})
    return [record["__id"] for record in answer["data"]]


def discard(rig: SyncRig, ids: list[str]) -> None:
    """Delete records by id."""
    if ids:
        rig.post("/records/delete", {"labels": [rig.label], "where": {"$id": {"$in": ids}}})


def others(rig: SyncRig) -> list[dict[str, Any]]:
    """Every record of the label that is not ours, as it is."""
    where = {"byovKey": {"$exists": False}}
    body = {"labels": [rig.label], "where": where, "orderBy": {"__id": "asc"}, "limit": 1000}
    return list(rig.post("/records/search", body)["data"])


def markers(rig: SyncRig) -> list[dict[str, Any]]:
    """The label's markers."""
    return list(rig.post("/records/search", {"labels": ["ByovMigration"], "where": {"byovKey": rig.label}})["data"])


def wire(rig: SyncRig) -> RestWire:
    """A client, to be closed."""
    opened = open_wire(rig.config().target, lambda: rig.key)
    assert isinstance(opened, RestWire)
    return opened


def index_names(rig: SyncRig) -> list[str]:
    """Properties of the label that have an index."""
    client = wire(rig)
    try:
        return [index.property_name for index in client.indexes() if index.label == rig.label]
    finally:
        client.close()


def remove(rig: SyncRig, **asked: Any) -> TableUndone:
    """One table taken back, with consent."""
    [table] = undo(rig.config(), **{"agreed": [rig.label], "surroundings": rig.around(), **asked}).tables
    return table


def leftovers(rig: SyncRig) -> dict[str, int]:
    """Rows that the state holds of any table, by its own tables."""
    tables = [table for table in schema.metadata.tables.values() if "table_name" in table.c or table.name == "report"]
    state = rig.opened_state()
    try:
        with state.store.reading() as connection:
            counts = {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables
            }
    finally:
        state.close()
    return {name: count for name, count in counts.items() if count}


def scope(rig: SyncRig) -> Mapping[str, Any]:
    """What the state says that it belongs to."""
    state = rig.opened_state()
    try:
        return state.scope.fields()
    finally:
        state.close()


def assert_undone(rig: SyncRig, before: list[dict[str, Any]]) -> None:
    """Nothing of ours in target and state, everything of others as it was."""
    assert rig.records() == []
    assert markers(rig) == []
    assert others(rig) == before
    assert leftovers(rig) == {}


def test_everything_of_ours_is_gone_and_nothing_of_others(rig: SyncRig) -> None:
    """Records, vectors, index and marker; records of the same label without byovKey stay as they are."""
    before = others(rig)
    done = remove(rig)
    assert (done.ours, done.others, done.strange, done.deleted) == (0, OTHERS, 0, ROWS)
    assert (done.indexes_deleted, done.indexes_kept) == (("description",), ())
    assert_undone(rig, before)
    assert index_names(rig) == []
    assert scope(rig).keys() == {"hash_key"}


def test_the_state_forgets_everything_of_the_table(rig: SyncRig) -> None:
    """Rejects, and the report of a proof, which a repair would go by."""
    rig.execute("UPDATE job SET embedding = ARRAY[0, 0, 0, 0]::real[] WHERE id = 1")
    assert rig.sync().rejects == 1
    verify(rig.config(), surroundings=rig.around())
    assert {"plan", "range", "ledger", "vector", "sync", "reject", "report"} <= leftovers(rig).keys()
    remove(rig)
    assert leftovers(rig) == {}


def test_a_new_backfill_starts_anew(rig: SyncRig) -> None:
    """As if the table had never been moved, under the same state and hash key, also with other settings."""
    before, key = others(rig), rig.config().hash_key.file
    assert key is not None
    secret = key.read_bytes()
    remove(rig)
    rig.execute("DELETE FROM job WHERE id > 50")
    rig.table = {"columns": ["id", "title", "pay"], "where": ["id != 3"]}
    done = rig.backfill().tables[0]
    assert (done.rows_stored, done.this_run.rows, done.complete) == (49, 49, True)
    assert {record["byovKey"] for record in rig.records()} == {str(number) for number in range(1, 51) if number != 3}
    assert key.read_bytes() == secret
    assert others(rig) == before
    assert remove(rig).deleted == 49


def test_a_sync_goes_on_after_a_new_backfill(rig: SyncRig) -> None:
    """No cursor, sweep or ledger of the first migration is left to mislead it."""
    remove(rig)
    rig.execute("UPDATE job SET title = 'between' WHERE id < 5")
    rig.backfill()
    rig.execute("UPDATE job SET title = 'after' WHERE id = 7")
    assert (rig.sync().updated, rig.compare()) == (1, EXACT)


def test_it_works_when_the_source_and_the_hash_key_are_gone(rig: SyncRig) -> None:
    """The database was dropped, its address leads nowhere, the key is lost: the ledger says all that is needed."""
    before, rig.dsn = others(rig), make_conninfo(rig.dsn, host="127.0.0.1", port=1)
    key = rig.config().hash_key.file
    assert key is not None
    key.unlink()
    remove(rig)
    assert_undone(rig, before)


def test_a_second_remove_has_nothing_to_do_and_asks_nobody(rig: SyncRig) -> None:
    """It says so from the target."""
    before = others(rig)
    remove(rig)
    done = remove(rig, agreed=())
    assert (done.ours, done.others, done.deleted) == (0, OTHERS, 0)
    assert_undone(rig, before)


def test_without_consent_nothing_is_deleted(rig: SyncRig) -> None:
    """Exit 6, with the command that means it."""
    with pytest.raises(ConsentNeeded, match=f"60 records of {rig.label} would be removed") as asked:
        remove(rig, agreed=())
    assert asked.value.next_step == f"if meant: byov-migrate remove --yes {rig.label}"
    assert len(rig.records()) == ROWS
    assert rig.sync().changes == 0


@pytest.mark.parametrize("typed", ["Other", "job ", "yes"])
def test_another_word_than_the_label_deletes_nothing(rig: SyncRig, typed: str) -> None:
    """Exit 2, whether it was typed or given."""
    with pytest.raises(ConfigurationError, match="nothing removed"):
        remove(rig, agreed=(), ask=lambda _extent: typed)
    with pytest.raises(ConfigurationError, match="nothing removed"):
        remove(rig, agreed=[typed])
    assert (len(rig.records()), rig.sync().changes) == (ROWS, 0)


def test_who_is_asked_sees_the_counts_first(rig: SyncRig) -> None:
    """Ours, those of others, and those that look like ours."""
    write(rig, [STRANGE])
    shown: list[Extent] = []

    def ask(extent: Extent) -> str:
        shown.append(extent)
        assert len(rig.records()) == ROWS + 1
        return rig.label

    remove(rig, agreed=(), ask=ask)
    assert shown == [Extent("public.job", rig.label, ROWS, 0, OTHERS, 1, marker=True)]


def test_records_that_carry_a_key_and_are_not_known_stay_and_are_counted(rig: SyncRig) -> None:
    """Whose they are cannot be told from here; one of them even has a key that is ours."""
    ids = write(rig, [STRANGE, {**STRANGE, "byovKey": "3"}])
    done = remove(rig)
    assert (done.ours, done.others, done.strange, done.deleted) == (0, OTHERS, 2, ROWS)
    assert sorted(record["__id"] for record in rig.records()) == sorted(ids)
    discard(rig, ids)


def test_records_that_somebody_deleted_are_not_counted_as_deleted(rig: SyncRig) -> None:
    """What is gone already is forgotten all the same, and unknown ones do not hide behind it."""
    discard(rig, [rig.ids()[key] for key in ("1", "2", "3")])
    strange = write(rig, [STRANGE, STRANGE])
    done = remove(rig)
    assert (done.ours, done.strange, done.deleted) == (0, 2, ROWS - 3)
    assert leftovers(rig) == {}
    discard(rig, strange)


def test_an_index_with_vectors_of_others_stays(rig: SyncRig) -> None:
    """An application attached its own to the same property; they are found afterwards as before."""
    ids = write(rig, [{"name": "with a vector", "description": "text of an application"}])
    client = wire(rig)
    [index] = [index for index in client.indexes() if index.label == rig.label]
    client.attach(index, {ids[0]: [1.0, 0.0, 0.0, 0.0]})  # type: ignore[dict-item]
    done = remove(rig)
    assert (done.indexes_deleted, done.indexes_kept) == ((), (KeptIndex("description", 1),))
    assert client.count_vectors(index) == 1
    client.close()
    assert (rig.backfill().tables[0].rows_stored, rig.compare()) == (ROWS, EXACT)


def test_of_several_indexes_on_one_property_none_is_deleted(rig: SyncRig) -> None:
    """They differ in their dimension, and the state does not know ours."""
    client = wire(rig)
    client.create_index(rig.label, "description", DIMENSION + 1, "cosine")
    done = remove(rig)
    assert (done.indexes_deleted, done.indexes_kept) == ((), (KeptIndex("description", 0, several=True),))
    for index in client.indexes():
        if index.label == rig.label:
            client.delete_index(index)
    client.close()


def test_indexes_of_spare_and_former_embeddings_go_and_others_stay(rig: SyncRig) -> None:
    """The state knows the embedding that the configuration has lost; an index on another property is nobody's here."""
    client = wire(rig)
    for name in ("descriptionAlt", "summary"):
        client.create_index(rig.label, name, DIMENSION, "cosine")
    rig.table = {"embeddings": []}
    assert remove(rig).indexes_deleted == ("description", "descriptionAlt")
    assert index_names(rig) == ["summary"]
    for index in client.indexes():
        if index.label == rig.label:
            client.delete_index(index)
    client.close()


def test_without_a_spare_property_its_index_is_not_ours(database: str, tmp_path: Path) -> None:
    """An application may have a property of that name."""
    with rigged(tmp_path, database) as rig:
        rig.make_table(3)
        rig.table = {"embeddings": [{"property": "description", "vector": "embedding", "spare": False}]}
        rig.backfill()
        client = wire(rig)
        client.create_index(rig.label, "descriptionAlt", DIMENSION, "cosine")
        assert remove(rig).indexes_deleted == ("description",)
        assert index_names(rig) == ["descriptionAlt"]
        for index in client.indexes():
            if index.label == rig.label:
                client.delete_index(index)
        client.close()


def test_a_label_of_another_state_is_left_alone(rig: SyncRig, tmp_path: Path) -> None:
    """Exit 4, and so does a project without the marker; a state that is not there knows nothing."""
    state = rig.config().state_path
    state.rename(tmp_path / "kept")
    with pytest.raises(Refused, match="there is no state"):
        remove(rig)
    other = dataclasses.replace(rig, label=f"{rig.label}x", state={"url": "sqlite:///other.db"})
    other.backfill()
    other.label = rig.label
    with pytest.raises(Refused, match=r"as .*x, and the configuration says"):
        remove(other)
    other.label = f"{rig.label}x"
    remove(other)
    other.label = rig.label
    with pytest.raises(Refused, match="belongs to another state"):
        remove(other)
    assert len(rig.records()) == ROWS
    (tmp_path / "kept").rename(state)
    discard_markers(rig)
    with pytest.raises(Refused, match="holds no marker"):
        remove(rig)
    assert len(rig.records()) == ROWS


def discard_markers(rig: SyncRig) -> None:
    """As in a project that never saw this migration."""
    ids = [record["__id"] for record in markers(rig)]
    rig.post("/records/delete", {"labels": ["ByovMigration"], "where": {"$id": {"$in": ids}}})


def test_a_later_copy_of_the_state_is_asked_instead(rig: SyncRig) -> None:
    """Its marker has a higher generation: what it wrote meanwhile is not known here."""
    [marker] = markers(rig)
    properties = {name: value for name, value in marker.items() if not name.startswith("__")}
    client = wire(rig)
    client.replace("ByovMigration", marker["__id"], {**properties, "byovGeneration": 2})
    client.close()
    with pytest.raises(Refused, match="a later copy"):
        remove(rig)
    assert len(rig.records()) == ROWS


def test_from_the_first_delete_on_an_older_copy_writes_nothing(
    rig: SyncRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restored state takes over before it deletes: the old one would go on writing records that nobody knows."""
    backup_state(rig.config(), tmp_path / "backup", surroundings=rig.around())
    rig.config().state_path.rename(tmp_path / "old")
    restore_state(rig.config(), tmp_path / "backup", surroundings=rig.around())
    break_off(rig, monkeypatch)
    assert [marker["byovGeneration"] for marker in markers(rig)] == [2]
    assert remove(rig).ours == 0


def test_records_that_come_while_it_deletes_are_told(rig: SyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 5, and the marker stays: another run is at work, on another machine perhaps."""
    original = Lookout.discard

    def discard_and_write(lookout: Lookout, ids: Any) -> None:
        original(lookout, ids)
        if ids:
            write(rig, [STRANGE])

    with monkeypatch.context() as patched:
        patched.setattr(Lookout, "discard", discard_and_write)
        with pytest.raises(DifferencesFound, match="1 records"):
            remove(rig)
    assert len(markers(rig)) == 1
    assert remove(rig).strange == 1
    discard(rig, list(rig.ids().values()))


def test_batches_of_a_killed_run_are_withdrawn(rig: SyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that were sent and never proved are in no ledger: they are found by their batch."""
    before = others(rig)
    remove(rig)

    def die(*_arguments: Any, **_options: Any) -> int:
        raise Unavailable("the process was killed here")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "advance", die)
        with pytest.raises(Unavailable):
            rig.backfill()
    assert (len(rig.records()), leftovers(rig)["intent"]) == (ROWS, 1)
    done = remove(rig)
    assert (done.ours, done.strange, done.others) == (0, 0, OTHERS)
    assert_undone(rig, before)
    assert "withdrawn" in [action for action, _ in rig.events]


def test_a_request_that_is_still_running_is_outlasted(rig: SyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The killed run's last request ends after it: whoever looks at once finds nothing, and has it back later."""
    remove(rig)

    def die(*_arguments: Any, **_options: Any) -> dict[str, str]:
        raise Unavailable("the process was killed here")

    with monkeypatch.context() as patched:
        patched.setattr(RestWire, "create", lambda *_: die())
        patched.setattr("byov_migrate.target.provision._write_marker", write_marker)
        with pytest.raises(Unavailable):
            rig.backfill()
    state = rig.opened_state()
    [intent] = state.journal.intents("public.job")
    state.close()
    written: list[str] = []
    late = [{"byovKey": row.key, "byovBatch": intent.batch} for row in intent.rows]

    def pause(_self: Any, reason: str, _seconds: float) -> None:
        assert "may still be under way" in reason
        written.extend(write(rig, late))

    monkeypatch.setattr("byov_migrate.target.retry.Patience.pause", pause)
    done = remove(rig)
    assert (done.ours, done.strange, rig.records()) == (0, 0, [])
    assert len(written) == ROWS


def write_marker(client: Any, _patience: Any, marker: Any) -> list[Any]:
    """As the original, by a request that is not watched."""
    body = {"label": "ByovMigration", "data": [dict(marker.properties())]}
    client._http.call("POST", "/api/v1/records/import/json", {**body, "options": {"suggestTypes": True}})
    return client.find("ByovMigration", {"byovKey": marker.label}, limit=10)[0]  # type: ignore[no-any-return]


def test_trial_records_of_a_killed_run_are_removed(rig: SyncRig) -> None:
    """Two records of a key that no row has; they are not counted as anybody's."""
    client = wire(rig)
    client.create(rig.label, [Outbound("~byov-unique", {"byovKey": "~byov-unique"})] * 2)
    client.close()
    shown: list[Extent] = []
    remove(rig, agreed=(), ask=lambda extent: shown.append(extent) or rig.label)  # type: ignore[func-returns-value]
    assert (shown[0].strange, shown[0].others, rig.records()) == (0, OTHERS, [])


def test_a_stop_ends_between_two_portions_and_the_next_run_goes_on(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is half done; what is left is deleted by the next."""
    before = others(rig)
    monkeypatch.setattr("byov_migrate.jobs.undo.RECORDS_AT_ONCE", 20)
    around: Surroundings = rig.around(progress=lambda progress: around.stop.set() if progress.confirmed == 40 else None)
    with pytest.raises(Interrupted):
        remove(rig, surroundings=around)
    assert (len(rig.records()), leftovers(rig)["ledger"], len(markers(rig))) == (20, 20, 1)
    assert remove(rig).deleted == 20
    assert_undone(rig, before)


def test_a_sync_does_not_fill_the_gaps_of_a_remove_that_was_begun(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cron goes on meanwhile: it is refused, and says what it lacks."""
    break_off(rig, monkeypatch)
    with pytest.raises(Refused, match="not complete"):
        rig.sync(full=True)
    assert len(rig.records()) < ROWS


def test_a_backfill_instead_of_the_rest_of_a_remove_fills_the_gaps(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has changed his mind."""
    break_off(rig, monkeypatch)
    rig.backfill()
    assert rig.compare() == EXACT


def break_off(rig: SyncRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A remove that ends after 20 records."""
    with monkeypatch.context() as patched:
        patched.setattr("byov_migrate.jobs.undo.RECORDS_AT_ONCE", 20)
        around: Surroundings = rig.around(progress=lambda _progress: around.stop.set())
        with pytest.raises(Interrupted):
            remove(rig, surroundings=around)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Forgetting, "begin"),
        (Lookout, "discard"),
        (Journal, "end_removal"),
        (RestWire, "delete_index"),
        (RestWire, "delete"),
        (Forgetting, "finish"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_whatever_it_ends_at_the_next_run_goes_on(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: str
) -> None:
    """Before and after each step, as if killed there."""
    before, original = others(rig), getattr(owner, name)

    def fail(*arguments: Any, **options: Any) -> None:
        if when == "after":
            original(*arguments, **options)
        raise MigrationError("the process was killed here")

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fail)
        with pytest.raises(MigrationError, match="killed here"):
            remove(rig)
    assert remove(rig).ours == 0
    assert_undone(rig, before)
    assert (rig.backfill().tables[0].rows_stored, rig.compare()) == (ROWS, EXACT)


def test_several_tables_need_a_yes_each_and_one_can_be_chosen(rig: SyncRig) -> None:
    """The label that is missing is named; the other table goes on as if nothing had happened."""
    rig.execute("CREATE TABLE team (id int PRIMARY KEY, name text)")
    rig.execute("INSERT INTO team VALUES (1, 'a'), (2, 'b')")
    config = rig.config()
    second = f"{rig.label}Team"
    team = TableConfig.model_validate({"name": "public.team", "label": second, "columns": ["id", "name"]})
    both = config.model_copy(update={"tables": (*config.tables, team)})
    both.__dict__.pop("entries", None)
    backfill(both, surroundings=rig.around())
    with pytest.raises(ConsentNeeded, match=f"2 records of {second}") as asked:
        undo(both, agreed=[rig.label], surroundings=rig.around())
    assert asked.value.next_step == f"if meant: byov-migrate remove --yes {rig.label} --yes {second}"
    assert len(rig.records()) == ROWS
    [done] = undo(both, tables=[second], agreed=[second], surroundings=rig.around()).tables
    assert (done.table, done.deleted) == ("public.team", 2)
    assert "source.system" in scope(rig)
    assert (rig.sync().changes, rig.compare()) == (0, EXACT)
    [first, again] = undo(both, agreed=[rig.label], surroundings=rig.around()).tables
    assert (first.deleted, again.deleted, again.ours) == (ROWS, 0, 0)
