"""The state file: new, reopened, absent, damaged, foreign, from the future, taken over."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from byov_migrate.errors import MigrationError, PersonNeeded, Refused, Unavailable
from byov_migrate.state import State, database, open_state, schema

NOW = 1_700_000_000.0
Opening = Callable[..., State]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state is to be."""
    return tmp_path / "folder" / "jobs.state.db"


@pytest.fixture
def opening(path: Path) -> Iterator[Opening]:
    """Open the state, any number of times."""
    with contextlib.ExitStack() as stack:

        def make(*, create: bool = True) -> State:
            state = open_state(path, lambda: NOW, create=create)
            stack.callback(state.close)
            return state

        yield make


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_state_belongs_to_its_owner_alone(path: Path, opening: Opening) -> None:
    """Keys and hashes of rows are in it, in its log and in its shared memory, whatever the umask."""
    before = os.umask(0)
    try:
        opening().runs.begin_run("backfill")
        assert {mode(file) for file in path.parent.iterdir()} == {0o600}
        assert mode(path.parent) == 0o700
    finally:
        os.umask(before)


def test_an_existing_folder_is_left_as_it_is(path: Path, opening: Opening) -> None:
    """It may be somebody else's."""
    path.parent.mkdir()
    path.parent.chmod(0o755)
    opening()
    assert mode(path.parent) == 0o755


def test_a_state_keeps_its_identity(opening: Opening) -> None:
    """The marker in the target names it; two states never share one."""
    first = opening()
    identity = first.runs.state_id
    first.runs.begin_run("backfill")
    first.close()
    again = opening(create=False)
    assert again.runs.state_id == identity
    assert [run["command"] for run in again.runs.last(5)] == ["backfill"]


def test_two_states_have_two_identities(tmp_path: Path) -> None:
    """Else a second state could claim the label of the first."""
    states = [open_state(tmp_path / name, lambda: NOW, create=True) for name in ("a.db", "b.db")]
    identities = {state.runs.state_id for state in states}
    for state in states:
        state.close()
    assert len(identities) == 2


def test_an_absent_state_is_not_made_by_a_job_that_only_looks(path: Path, opening: Opening) -> None:
    """`status` before the first backfill must not leave an empty state behind."""
    with pytest.raises(Refused) as caught:
        opening(create=False)
    assert caught.value.next_step == "byov-migrate backfill"
    assert not path.exists()


def test_every_write_is_durable(opening: Opening) -> None:
    """A power cut must not take back what was reported as done."""
    with opening().store.reading() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("journal_mode", "synchronous")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}


@pytest.mark.parametrize(
    "content", [b"not a database at all, just some text " * 100, b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, opening: Opening, content: bytes) -> None:
    """Nothing is written into what somebody else put there."""
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(Refused):
        opening()
    assert path.read_bytes() == content


def test_a_damaged_page_is_refused_when_it_is_met(path: Path, opening: Opening) -> None:
    """A disk that fails later than at the first page."""
    state = opening()
    state.runs.begin_run("backfill")
    for _ in range(40):
        state.runs.note("filler", text="x" * 3000)
    state.close()
    with path.open("r+b") as file:
        for page in range(2, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
    with pytest.raises(Refused, match="damaged"):
        opening(create=False).runs.events("")


def test_a_database_of_another_program_is_refused(path: Path, opening: Opening) -> None:
    """Our tables must not appear in it."""
    path.parent.mkdir()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE meta (x)")
        other.commit()
    with pytest.raises(Refused, match="another program"):
        opening()
    with contextlib.closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)


def test_a_state_from_the_future_is_refused(path: Path, opening: Opening) -> None:
    """An older version does not know what it would break."""
    opening().close()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE meta SET value = ? WHERE name = 'format'", (str(schema.FORMAT + 1),))
        other.commit()
    with pytest.raises(Refused, match="later version"):
        opening()


def test_a_folder_in_the_place_of_the_file_needs_a_person(path: Path, opening: Opening) -> None:
    """It cannot be opened, and does not pass by itself."""
    path.mkdir(parents=True)
    with pytest.raises(PersonNeeded, match="permissions"):
        opening()


@contextlib.contextmanager
def somebody_else(folder: Path) -> Iterator[None]:
    """Become a user who can reach `folder` and owns nothing."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    opened_up = [place for place in (folder, *folder.parents) if place.stat().st_mode & 0o055 != 0o055]
    modes = [place.stat().st_mode for place in opened_up]
    for place in opened_up:
        place.chmod(0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for place, before in zip(opened_up, modes, strict=True):
            place.chmod(before)


@pytest.mark.parametrize("mode_of_file", [0o444, 0o600])
def test_a_state_that_may_not_be_written_needs_a_person(path: Path, opening: Opening, mode_of_file: int) -> None:
    """A cron job of another user."""
    opening().close()
    path.chmod(mode_of_file)
    with somebody_else(path.parent), pytest.raises(PersonNeeded, match="permissions"):
        opening()


def test_a_folder_that_may_not_be_searched_needs_a_person(path: Path, opening: Opening) -> None:
    """Not even whether there is a state can be told."""
    opening().close()
    with somebody_else(path.parent.parent), pytest.raises(PersonNeeded, match="cannot use"):
        opening()


def test_a_name_that_looks_like_an_address_is_a_name(tmp_path: Path) -> None:
    """SQLAlchemy reads addresses; a question mark in a file's name is none of its business."""
    path = tmp_path / "what?mode=ro.db"
    open_state(path, lambda: NOW, create=True).close()
    assert path.stat().st_size > 0


def test_a_network_file_system_is_refused(opening: Opening, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines would both hold the lock."""
    monkeypatch.setattr(database, "file_system_of", lambda _path: "nfs4")
    with pytest.raises(PersonNeeded, match="nfs4"):
        opening()


def test_the_file_system_of_a_path_is_the_one_of_its_longest_mount() -> None:
    """`/` is mounted too."""
    assert database.file_system_of(Path("/proc/self")) == "proc"


def test_a_full_disk_passes_by_itself(opening: Opening) -> None:
    """No row is lost by it: the next run continues. SQLite's own limit stands for the disk's."""
    state = opening()
    state.runs.begin_run("backfill")
    with state.store.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable, match="full"):
        state.runs.note("long", text="x" * 100_000)
    assert state.runs.events("") == []


def test_a_second_run_fences_off_the_first(opening: Opening) -> None:
    """A process that was suspended, lost its lock and woke up must not move a position."""
    asleep, awake = opening(), opening()
    asleep.runs.begin_run("backfill")
    second = awake.runs.begin_run("sync")
    with pytest.raises(Unavailable, match="another run"):
        asleep.runs.note("late")
    with pytest.raises(Unavailable, match="another run"):
        asleep.runs.end_run(0, {})
    with pytest.raises(Unavailable, match="another run"):
        asleep.journal.drop_intent("any")
    awake.runs.note("on time")
    assert [event["action"] for event in awake.runs.events(second)] == ["on time"]
    assert {run["exit_code"] for run in awake.runs.last(5)} == {None}


def test_a_reader_needs_no_run(opening: Opening) -> None:
    """`status` looks at a state that a run is writing to."""
    writer = opening()
    writer.runs.begin_run("backfill")
    assert opening(create=False).runs.last(1)[0]["exit_code"] is None
    writer.runs.end_run(3, {"public.job": 5})
    [run] = opening(create=False).runs.last(1)
    assert (run["exit_code"], run["summary"], run["ended_at"]) == (3, {"public.job": 5}, NOW)


def test_the_events_of_a_run_are_found_by_the_beginning_of_its_id(opening: Opening) -> None:
    """As it is printed; a percent sign is no wildcard."""
    state = opening()
    run = state.runs.begin_run("backfill")
    state.runs.note("planned", rows=5)
    [event] = state.runs.events(run[:8])
    assert (event["action"], event["fields"], event["at"]) == ("planned", {"rows": 5}, NOW)
    assert state.runs.events("%") == []


def test_a_scope_is_refused_with_every_difference_and_nothing_is_written(opening: Opening) -> None:
    """The old meaning stays until somebody decides."""
    state = opening()
    state.scope.adopt({"source.system": "1", "hash_key": "a"})
    with pytest.raises(Refused) as caught:
        state.scope.adopt({"source.system": "2", "hash_key": "b", "target.project": "p"})
    assert "source.system is now 2, was 1" in str(caught.value)
    assert "hash_key is now b, was a" in str(caught.value)
    assert state.scope.fields() == {"source.system": "1", "hash_key": "a"}


def test_a_scope_grows_by_what_was_not_known(opening: Opening) -> None:
    """The project is known only once the target has an index; a new table comes later."""
    state = opening()
    state.scope.adopt({"source.system": "1"})
    state.scope.adopt({"source.system": "1", "tables[t].columns": ["a"], "tables[t].deleted_when": None})
    state.scope.require({"source.system": "1", "tables[t].columns": ["a"], "tables[t].deleted_when": None})
    with pytest.raises(Refused):
        state.scope.require({"tables[t].columns": ["b"], "tables[t].deleted_when": None})


def test_no_failure_of_sqlite_quotes_a_value(opening: Opening) -> None:
    """The driver's message holds the statement with its parameters."""
    state = opening()
    state.journal.store_plan("public.job", [("canary-5f0c",)], rows=1, snapshot="1:2:")
    with pytest.raises(MigrationError) as caught:
        state.journal.store_plan("public.job", [("canary-5f0c",)], rows=1, snapshot="1:2:")
    assert "canary" not in str(caught.value)
