"""`check` on a standby: it says so, and how far it is behind."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import psycopg
import pytest

from byov_migrate.source.standing import read_standing
from tests.postgres import runner, running, session_to, system_binaries


def test_a_replica_tells_how_far_it_is_behind(servers_root: Path, tmp_path: Path) -> None:
    """Caught up it is not behind, however long ago the primary wrote; held back it is."""
    binaries = system_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL in /usr/lib/postgresql")
    root, who = servers_root / tmp_path.name, runner()
    with running(binaries, root / "primary") as primary:
        copy = root / "standby"
        copy.mkdir(mode=0o700)
        if who:
            shutil.chown(copy, who["user"], who["group"])
        command: list[str | Path] = [
            binaries / "pg_basebackup",
            "-D",
            copy,
            "-d",
            primary,
            "-X",
            "stream",
            "-c",
            "fast",
            "-R",
        ]
        subprocess.run(command, check=True, cwd="/", **who)
        with (
            running(binaries, copy) as standby,
            psycopg.connect(primary, autocommit=True) as on_primary,
            psycopg.connect(standby, autocommit=True) as on_standby,
            session_to(primary) as first,
            session_to(standby) as second,
        ):
            assert read_standing(first).lag_s is None
            on_primary.execute("CREATE TABLE job (id int)")
            deadline = time.monotonic() + 20
            while (
                not on_standby.execute("SELECT to_regclass('job')").fetchall()[0][0] or read_standing(second).lag_s != 0
            ):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            on_standby.execute("SELECT pg_wal_replay_pause()")
            while on_standby.execute("SELECT pg_get_wal_replay_pause_state()").fetchall() != [("paused",)]:
                on_primary.execute("SELECT pg_logical_emit_message(true, '', '')")
                time.sleep(0.01)
            on_primary.execute("INSERT INTO job VALUES (1)")
            while not read_standing(second).lag_s:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            found = read_standing(second)
            assert found.in_recovery
            assert found.lag_s is not None
            assert found.lag_s > 0
            on_standby.execute("SELECT pg_wal_replay_resume()")
