"""Writers at work, a backfill and syncs that are killed at random: one sync at the end makes both ends equal."""

from __future__ import annotations

import itertools
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psycopg
import pytest

from tests.acceptance.migration import Migration, Target, kill_after
from tests.sync_rig import EXACT, FILL, TABLE, SyncRig

ROWS = int(os.environ.get("BYOV_TEST_SOAK_ROWS", "2000"))
SECONDS = float(os.environ.get("BYOV_TEST_SOAK_S", "25"))
WRITERS = 4
LONGEST_LIFE_S = float(os.environ.get("BYOV_TEST_SOAK_LIFE_S", "4"))  # of a run that is killed
PAUSE_S = float(os.environ.get("BYOV_TEST_SOAK_PAUSE_S", "0.02"))  # of a writer, between two transactions
CONFIGURATION = """
[[tables]]
name = "job"
label = "{label}"
columns = ["id", "title", "pay", "status"]
sweep_every = "3s"
delete_ceiling = 1000000
[[tables.embeddings]]
property = "description"
vector = "embedding"
"""


@dataclass
class Writers:
    """Threads that insert, update, delete and change keys, each in transactions of its own."""

    dsn: str
    seed: int
    done: threading.Event = field(default_factory=threading.Event)
    failures: list[BaseException] = field(default_factory=list)
    transactions: int = 0

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for thread in self._threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _write(self, number: int) -> None:
        draw = random.Random(self.seed + number)  # noqa: S311 - a schedule, no secret
        try:
            with psycopg.connect(self.dsn) as connection:
                while not self.done.is_set():
                    self._transaction(connection, draw)
                    time.sleep(draw.random() * 2 * PAUSE_S)
        except BaseException as error:  # noqa: BLE001 - raised again by the test
            self.failures.append(error)

    def _transaction(self, connection: psycopg.Connection[tuple[object, ...]], draw: random.Random) -> None:
        """Some statements, sometimes held open for a while, sometimes rolled back, sometimes under a savepoint."""
        try:
            for _ in range(draw.randint(1, 4)):
                with connection.transaction():  # a savepoint from the second level on
                    self._statement(connection, draw)
            if draw.random() < 0.05:
                time.sleep(draw.random() * 3)
            connection.rollback() if draw.random() < 0.1 else connection.commit()
        except (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
            connection.rollback()
        self.transactions += 1

    def _statement(self, connection: psycopg.Connection[tuple[object, ...]], draw: random.Random) -> None:
        key, vector = draw.randint(1, ROWS * 2), [draw.gauss(0, 1) for _ in range(4)]
        kind = draw.choice(["insert", "value", "vector", "both", "clear", "delete", "key", "many"])
        if kind == "insert":
            connection.execute(
                "INSERT INTO job (id, title, embedding) VALUES (%s, 'new', %s) ON CONFLICT DO NOTHING", (key, vector)
            )
        elif kind == "value":
            connection.execute("UPDATE job SET title = %s WHERE id = %s", (f"title {draw.random()}", key))
        elif kind == "vector":
            connection.execute("UPDATE job SET embedding = %s WHERE id = %s", (vector, key))
        elif kind == "both":
            connection.execute("UPDATE job SET pay = %s, embedding = %s WHERE id = %s", (draw.random(), vector, key))
        elif kind == "clear":
            connection.execute("UPDATE job SET pay = NULL, embedding = NULL WHERE id = %s", (key,))
        elif kind == "delete":
            connection.execute("DELETE FROM job WHERE id = %s", (key,))
        elif kind == "key":
            connection.execute("UPDATE job SET id = %s WHERE id = %s", (draw.randint(1, ROWS * 2), key))
        else:
            connection.execute("UPDATE job SET status = %s WHERE id BETWEEN %s AND %s", (f"s{key}", key, key + 5))


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("unique", [False, True])
def test_after_any_number_of_kills_one_sync_makes_both_ends_equal(
    migration: Migration,
    target: Target,
    record_property: Callable[[str, object], None],
    *,
    unique: bool,
) -> None:
    """Nothing missing, nothing extra, nothing doubled, no value and no vector of another time."""
    seed = int(os.environ.get("BYOV_TEST_SEED", "0")) or secrets.randbelow(2**32)
    rig = SyncRig(migration.folder, migration.dsn, target.url, key=target.key, label=migration.label)
    rig.execute(TABLE)
    rig.execute(FILL, (1, ROWS))
    if unique:
        if not target.is_sandbox and "BYOV_TEST_NEO4J_CYPHER" not in os.environ:
            pytest.skip("BYOV_TEST_NEO4J_CYPHER is not set: nobody can make the constraint")
        rig.make_keys_unique()
    migration.write(CONFIGURATION, target="batch_rows = 200")
    with Writers(migration.dsn, seed) as writers:
        runs = list(runs_under_fire(migration, random.Random(seed)))  # noqa: S311
    last = migration.run("sync", "--full", "--confirm-deletes", "-q")
    assert last.returncode == 0, (seed, last.stderr)
    assert rig.compare() == EXACT, f"seed {seed}"
    record_property("seed", seed)
    record_property("transactions", writers.transactions)
    record_property("runs", {code: runs.count(code) for code in sorted(set(runs))})
    assert runs.count(-9) > 0
    assert runs.count(0) > 0
    again = migration.run("sync", "--full", "-q", "--json")
    assert '"created": 0' in again.stdout
    assert '"updated": 0' in again.stdout


def runs_under_fire(migration: Migration, draw: random.Random) -> Iterator[int]:
    """The exit codes of a backfill until it is through, then of syncs; every other is killed, if it lives so long."""
    end, command = time.monotonic() + SECONDS, "backfill"
    for number in itertools.count():
        if command == "sync" and number % 2 == 0 and time.monotonic() >= end:
            return
        process = migration.start(command, "-q")
        if number % 2 == 0 and kill_after(process, draw.random() * LONGEST_LIFE_S):
            yield -9
            continue
        out, err = process.communicate(timeout=600)
        assert process.returncode in (0, 3), (process.returncode, out, err)
        yield process.returncode
        command = "sync"


def test_a_sync_that_has_nothing_to_do_says_nothing(migration: Migration, tmp_path: Path) -> None:
    """Cron turns every word into a mail; figures for monitoring are written all the same."""
    rig = SyncRig(migration.folder, migration.dsn, migration.target.url, migration.target.key, migration.label)
    rig.make_table(30)
    migration.write(CONFIGURATION)
    early = migration.run("sync", "--metrics-file", str(tmp_path / "early.prom"))
    assert (early.returncode, early.stderr.count("\n")) == (4, 1)
    assert early.stderr.endswith("byov-migrate backfill\n")
    assert migration.run("backfill", "-q").returncode == 0
    file = tmp_path / "jobs.prom"
    quiet = migration.run("sync", "--metrics-file", str(file))
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert 'byov_migrate_records{table="job"} 30' in file.read_text(encoding="utf-8")
    assert "byov_migrate_last_sync_exit_code 0" in file.read_text(encoding="utf-8")
    rig.execute("UPDATE job SET title = 'other' WHERE id = 1")
    told = migration.run("sync", "--metrics-file", str(file))
    assert told.returncode == 0
    assert told.stdout.count("\n") == 1
    assert "0 new, 1 changed, 0 deleted" in told.stdout
    assert 'byov_migrate_sync_updated_rows{table="job"} 1' in file.read_text(encoding="utf-8")


def test_a_watch_ends_well_on_sigterm(migration: Migration) -> None:
    """Between two syncs and in the middle of one."""
    rig = SyncRig(migration.folder, migration.dsn, migration.target.url, migration.target.key, migration.label)
    rig.make_table(30)
    migration.write(CONFIGURATION)
    assert migration.run("backfill", "-q").returncode == 0
    process = migration.start("sync", "--watch", "0.2")
    rig.execute("UPDATE job SET title = 'watched' WHERE id = 1")
    assert process.stdout is not None
    assert "1 changed" in process.stdout.readline()
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert rig.compare() == EXACT
