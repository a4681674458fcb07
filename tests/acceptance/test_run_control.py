"""One run at a time, signals drain, backups move a state."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.acceptance.migration import VECTOR_TABLE, Migration, Process, compare_items, make_vector_table

ROWS = int(os.environ.get("BYOV_TEST_SIGNAL_ROWS", "3000"))
SIGNALS = int(os.environ.get("BYOV_TEST_SIGNALS", "4"))


def is_held(migration: Migration) -> bool:
    """Whether a run has written something about itself into the lock file."""
    lock = migration.state.with_name(migration.state.name + ".lock")
    return lock.exists() and lock.stat().st_size > 0


def is_underway(migration: Migration, process: Process) -> bool:
    """Whether this very run has written itself into the lock file, or has ended already."""
    lock = migration.state.with_name(migration.state.name + ".lock")
    holder = lock.read_text(encoding="utf-8") if lock.exists() else ""
    return f'"pid": {process.pid},' in holder or process.poll() is not None


def wait_for(condition: Callable[[], bool], patience_s: float = 20.0) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def ended(process: Process) -> tuple[int, str]:
    """Exit code and stderr."""
    _out, err = process.communicate(timeout=120)
    return process.returncode, err


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_sigterm_at_any_moment_ends_143_and_the_next_run_is_exact(migration: Migration) -> None:
    """A stop settles what is in flight: 143 (or done), and what follows is as after an undisturbed run."""
    vectors = make_vector_table(migration.dsn, ROWS, 16)
    migration.write(VECTOR_TABLE, target="batch_rows = 25\nwriters = 2")
    dice = random.Random(5)  # noqa: S311 - no secret
    codes = []
    for _ in range(SIGNALS):
        process = migration.start("backfill")
        wait_for(partial(is_underway, migration, process))
        time.sleep(dice.uniform(0.0, 1.2))
        process.send_signal(signal.SIGTERM)
        code, err = ended(process)
        codes.append(code)
        assert code in (0, 143, -signal.SIGTERM), err  # the last: it had done all and was leaving; a shell says 143 too
        assert "Traceback" not in err
    assert 143 in codes

    assert migration.run("backfill").returncode == 0
    account = compare_items(migration, vectors)
    assert account.is_exact, account


def test_a_second_run_is_silent_and_ends_75(migration: Migration) -> None:
    """Cron must not mail while another run is at work, and a stopped holder still holds."""
    make_vector_table(migration.dsn, 4000, 16)
    migration.write(VECTOR_TABLE, target="batch_rows = 10")
    holder = migration.start("backfill")
    wait_for(lambda: is_held(migration))
    holder.send_signal(signal.SIGSTOP)
    try:
        second = migration.run("backfill")
        assert (second.returncode, second.stdout, second.stderr) == (75, "", "")
    finally:
        holder.kill()
        holder.communicate()
    assert migration.run("backfill", "--limit", "10").returncode == 0  # the lock died with its process


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_eight_runs_at_once_are_never_two_at_work(migration: Migration) -> None:
    """Eight processes, holders killed at random: one works, the others end 75; the target is exact."""
    vectors = make_vector_table(migration.dsn, 1500, 8)
    migration.write(VECTOR_TABLE, target="batch_rows = 20")
    dice = random.Random(8)  # noqa: S311 - no secret
    for _ in range(3):
        runs = [migration.start("backfill", "-q") for _ in range(8)]
        time.sleep(dice.uniform(0.8, 2.0))
        for process in dice.sample(runs, 3):
            process.send_signal(dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        codes = [ended(process)[0] for process in runs]
        assert set(codes) <= {0, 75, 143, -9, -15}, codes  # -15: before it had begun
    assert migration.run("backfill").returncode == 0
    account = compare_items(migration, vectors)
    assert account.is_exact, account


def test_a_restored_state_goes_on_and_the_old_copy_only_reads(
    migration: Migration, another: Callable[[str], Migration]
) -> None:
    """Backup in the middle, restore elsewhere: the new copy finishes, the old one ends 4 and writes nothing."""
    vectors = make_vector_table(migration.dsn, 400, 8)
    migration.write(VECTOR_TABLE)
    assert migration.run("backfill", "--limit", "150").returncode == 0
    file = migration.folder / "backup.db"
    saved = migration.run("state", "backup", str(file))
    assert saved.returncode == 0, saved.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    moved = another("moved")
    moved.label = migration.label
    moved.write(VECTOR_TABLE)

    restored = moved.run("state", "restore", str(file))
    onward, old = moved.run("backfill"), migration.run("backfill")

    assert restored.returncode == 0, restored.stderr
    assert onward.returncode == 0, onward.stderr
    assert old.returncode == 4, old.stderr
    assert "only reads" in old.stderr
    account = compare_items(moved, vectors)
    assert account.is_exact, account
    assert moved.run("state", "restore", str(file)).returncode == 4  # never over a state that is there


def test_a_backup_older_than_the_last_run_is_refused_and_doubles_nothing(migration: Migration) -> None:
    """What was stored after the backup is unknown to it and would be written a second time: exit 4."""
    vectors = make_vector_table(migration.dsn, 200, 8)
    migration.write(VECTOR_TABLE)
    file = migration.folder / "old.db"
    assert migration.run("backfill", "--limit", "50").returncode == 0
    assert migration.run("state", "backup", str(file)).returncode == 0
    assert migration.run("backfill").returncode == 0
    for path in migration.folder.glob("job.state.db*"):
        path.unlink()
    assert migration.run("state", "restore", str(file)).returncode == 0

    refused = migration.run("backfill")

    assert refused.returncode == 4, refused.stderr
    assert "knows 50" in refused.stderr
    account = compare_items(migration, vectors)
    assert account.is_exact, account
