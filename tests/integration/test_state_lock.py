"""One run at a time, among real processes: killed, spawned, suspended."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from byov_migrate.errors import Busy, PersonNeeded
from byov_migrate.state.lock import run_lock

HOLD = """
import subprocess, sys
from pathlib import Path
from byov_migrate.state.lock import run_lock
with run_lock(Path(sys.argv[1]), command="sync", now=5.0):
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    child = subprocess.Popen(["sleep", "60"], close_fds=False, **quiet) if "spawn" in sys.argv else None
    print(child.pid if child else 0, flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(state: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Another process that holds the lock, and the id of its child (0 without one)."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(state), *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        yield process, child
    finally:
        process.kill()
        process.communicate()
        if child:
            os.kill(child, signal.SIGKILL)


def test_a_second_process_is_told_who_is_at_work(tmp_path: Path) -> None:
    """At once, without waiting."""
    state = tmp_path / "state.db"
    with holder(state) as (process, _), pytest.raises(Busy) as caught, run_lock(state, command="backfill", now=0.0):
        pytest.fail("two runs at once")
    assert f"sync, process {process.pid} on " in str(caught.value)
    assert caught.value.exit_code == 75


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_holder_leaves_no_lock(tmp_path: Path, number: int) -> None:
    """The kernel takes it back; there is no stale file to remove by hand."""
    state = tmp_path / "state.db"
    with holder(state) as (process, _):
        process.send_signal(number)
        process.wait(10)
        with run_lock(state, command="backfill", now=0.0):
            pass


def test_a_suspended_holder_still_holds_it(tmp_path: Path) -> None:
    """It may wake up at any moment."""
    state = tmp_path / "state.db"
    with holder(state) as (process, _):
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(Busy), run_lock(state, command="backfill", now=0.0):
            pytest.fail("two runs at once")
        process.send_signal(signal.SIGCONT)


def test_a_child_that_outlives_the_holder_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A secret's command or a database of the demo, started while the lock was held."""
    state = tmp_path / "state.db"
    with holder(state, "spawn") as (process, child):
        process.kill()
        process.wait(10)
        os.kill(child, 0)  # it is still there
        with run_lock(state, command="backfill", now=0.0):
            pass


def test_the_lock_can_be_taken_again_after_it_was_given_back(tmp_path: Path) -> None:
    """Also after an error inside."""
    state = tmp_path / "state.db"
    with pytest.raises(ZeroDivisionError), run_lock(state, command="backfill", now=0.0):
        raise ZeroDivisionError
    with run_lock(state, command="sync", now=7.0):
        about = json.loads((tmp_path / "state.db.lock").read_text())
    assert (about["command"], about["since"], about["pid"]) == ("sync", 7.0, os.getpid())


def test_a_loser_leaves_the_holders_words_alone(tmp_path: Path) -> None:
    """Opened without truncation: else the third process would learn nothing."""
    state = tmp_path / "state.db"
    with holder(state):
        for _ in range(2):
            with pytest.raises(Busy, match="sync, process"), run_lock(state, command="a much longer command", now=0.0):
                pytest.fail("two runs at once")


def test_the_lock_file_stays_and_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    """A removed file could be locked by two processes at once, each holding another one of the same name."""
    with run_lock(tmp_path / "new" / "state.db", command="backfill", now=0.0):
        pass
    path = tmp_path / "new" / "state.db.lock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_lock_that_cannot_be_made_needs_a_person(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("")
    with pytest.raises(PersonNeeded), run_lock(tmp_path / "file" / "state.db", command="backfill", now=0.0):
        pytest.fail("no lock was taken")


def test_eight_processes_take_turns(tmp_path: Path) -> None:
    """Each adds one to a number in a file, which loses counts as soon as two are inside together."""
    state, counter = tmp_path / "state.db", tmp_path / "counter"
    counter.write_text("0")
    work = """
import sys, time
from pathlib import Path
from byov_migrate.errors import Busy
from byov_migrate.state.lock import run_lock
done, counter = 0, Path(sys.argv[2])
while done < 8:
    try:
        with run_lock(Path(sys.argv[1]), command="count", now=0.0):
            number = int(counter.read_text())
            time.sleep(0.001)
            counter.write_text(str(number + 1))
            done += 1
    except Busy:
        time.sleep(0.002)
"""
    workers = [subprocess.Popen([sys.executable, "-c", work, str(state), str(counter)]) for _ in range(8)]
    assert [worker.wait(60) for worker in workers] == [0] * 8
    assert counter.read_text() == "64"
