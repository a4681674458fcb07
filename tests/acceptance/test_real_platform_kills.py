from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.acceptance.migration import VECTOR_TABLE, Migration, Process, compare_items, make_vector_table

NEEDED = (
    "BYOV_TEST_RUSHDB_URL",
    "BYOV_TEST_RUSHDB_PLATFORM_PID_FILE",
    "BYOV_TEST_RUSHDB_DATABASE_PID_FILE",
    "BYOV_TEST_RUSHDB_START",
)
MISSING = [name for name in NEEDED if not os.environ.get(name)]
EACH = int(os.environ.get("BYOV_TEST_KILLS_EACH", "3"))
ROWS = int(os.environ.get("BYOV_TEST_KILL_ROWS", "3000"))
SEED = int(os.environ.get("BYOV_TEST_KILL_SEED", "11"))
SETTINGS = "batch_rows = 50\nwriters = 2\n"
START_S = 600
AT_WORK_S = 300
LATEST_S = 20 / (3 * EACH)  # or everything would be stored long before the last kill
POLL_S = 0.1

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"killing a real platform needs {', '.join(MISSING)} in the environment"
)


@dataclass(frozen=True)
class Platform:
    """A RushDB of this machine: where its parts write their process numbers, and the command that starts them."""

    pid_files: dict[str, Path]
    start: str

    def kill(self, part: str) -> None:
        """kill -9 of `platform` or `database`."""
        os.kill(int(self.pid_files[part].read_text(encoding="ascii").split()[0]), signal.SIGKILL)

    def restart(self) -> None:
        """Start what is missing; returns when it answers."""
        command = shlex.split(self.start)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=START_S)


@pytest.fixture
def platform() -> Platform:
    """The platform that the environment names."""
    files = {part: Path(os.environ[f"BYOV_TEST_RUSHDB_{part.upper()}_PID_FILE"]) for part in ("platform", "database")}
    return Platform(files, os.environ["BYOV_TEST_RUSHDB_START"])


class Run:
    """A backfill in the background, its output drained."""

    def __init__(self, migration: Migration) -> None:
        self._migration = migration
        self.process: Process = migration.start("backfill", "--json")
        self._ending = threading.Thread(target=self._drain)
        self._ending.start()
        self.said = ""

    def _drain(self) -> None:
        self.said = self.process.communicate()[1]

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    @property
    def has_finished(self) -> bool:
        """Whether everything is stored; a run that ended otherwise was killed or has given up for now."""
        self._ending.join()
        assert self.process.returncode in (0, 75, -signal.SIGKILL), self.said
        return self.process.returncode == 0

    def wait_until_at_work(self) -> bool:
        """Wait until the target holds more records than now; False when it ends first."""
        before, deadline = stored(self._migration), time.monotonic() + AT_WORK_S
        while self.is_alive and stored(self._migration) <= before:
            assert time.monotonic() < deadline, "the run does nothing"
            time.sleep(POLL_S)
        return self.is_alive

    def wait(self, seconds: float) -> bool:
        """Let it go on for a while; False when it ends first."""
        self._ending.join(seconds)
        return self.is_alive

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self._ending.join()


def stored(migration: Migration) -> int:
    """Records of the label; -1 while the platform does not say."""
    body = {"labels": [migration.label], "where": {}, "limit": 1}
    try:
        return int(migration.target.post("/records/search", body, timeout_s=10)["total"])
    except httpx.HTTPError:
        return -1


def victims(chosen: random.Random) -> list[str]:
    """Who is killed, in order."""
    everybody = ["tool", "platform", "database"] * EACH
    chosen.shuffle(everybody)
    return everybody


def strike(run: Run, victim: str, platform: Platform, chosen: random.Random) -> bool:
    """Kill at a random moment: one in four while the run begins, the others while it writes; False if it ended."""
    is_alive = run.is_alive if chosen.random() < 0.25 else run.wait_until_at_work()
    if not is_alive or not run.wait(chosen.uniform(0, LATEST_S)):
        return False
    if victim == "tool":
        run.kill()
        return True
    platform.kill(victim)
    if chosen.random() < 0.5:
        run.kill()  # with the server away; otherwise the run has to live through it
    platform.restart()
    return True


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_nothing_is_lost_or_doubled_when_anything_is_killed(
    migration: Migration, platform: Platform, record_property: Callable[[str, object], None]
) -> None:
    """kill -9 of the tool, the platform and its database, anywhere: the last backfill leaves the target exact."""
    vectors = make_vector_table(migration.dsn, ROWS, 32)
    migration.write(VECTOR_TABLE, target=SETTINGS)
    chosen = random.Random(SEED)  # noqa: S311 - no secret
    killed: Counter[str] = Counter()
    started, runs = time.monotonic(), 1
    run = Run(migration)
    for victim in victims(chosen):
        while run.is_alive or not run.has_finished:
            if not run.is_alive:
                run, runs = Run(migration), runs + 1
            if strike(run, victim, platform, chosen):
                killed[victim] += 1
                break
    run.kill()
    killing_s = time.monotonic() - started

    done = migration.run("backfill")

    record_property("killed", dict(killed))
    record_property("runs", runs)
    record_property("stored_when_killing_ended", stored(migration))
    record_property("seconds", {"killing": round(killing_s), "all": round(time.monotonic() - started)})
    assert done.returncode == 0, done.stderr
    account = compare_items(migration, vectors)
    assert account.is_exact, account
    assert killed.keys() == {"tool", "platform", "database"}
