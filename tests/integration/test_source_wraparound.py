"""Changes across an epoch and across a wrap of the 32-bit transaction counter, on a cluster made for it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from byov_migrate.source import Cursor, Strategy
from byov_migrate.source.windows import ID_SPACE, parse_snapshot
from tests.postgres import runner, running, session_to, system_binaries, table_reader

NEAR_THE_END = ID_SPACE - 120
ROWS = 300


@pytest.mark.slow
def test_nothing_is_lost_across_an_epoch_and_a_wrap(servers_root: Path) -> None:
    """Rows keep 32 bits of their number and snapshots all 64: compared directly, they find nothing, or a third."""
    binaries = system_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL in /usr/lib/postgresql")
    data = servers_root / "wraparound"
    with running(binaries, data, ["autovacuum=off"]) as dsn, psycopg.connect(dsn, autocommit=True) as db:
        db.execute("ALTER DATABASE template0 ALLOW_CONNECTIONS true")
        db.execute("CREATE TABLE job (id int PRIMARY KEY, n int DEFAULT 0)")
        write(db, 0)
        freeze(dsn)
    renumber(binaries, data, epoch=7, next_id=NEAR_THE_END)
    with running(binaries, data, ["autovacuum=off"]) as dsn:
        cursors = changes_while_the_counter_turns(dsn)
    lowest = [parse_snapshot(cursor.snapshot).lowest for cursor in cursors]
    assert lowest[0] < 8 * ID_SPACE < lowest[-1]


def write(db: psycopg.Connection[Any], start: int) -> set[int]:
    """Rows of a transaction each."""
    ids = range(start, start + ROWS // 10)
    for number in ids:
        db.execute("INSERT INTO job VALUES (%s)", (number,))
    return set(ids)


def freeze(dsn: str) -> None:
    """In every database: no row may need the commit log of numbers that are about to be jumped over."""
    with psycopg.connect(dsn, autocommit=True) as db:
        names = [row[0] for row in db.execute("SELECT datname FROM pg_database").fetchall()]
    for name in names:
        with psycopg.connect(dsn, dbname=name, autocommit=True) as db:
            db.execute("VACUUM FREEZE")
            db.execute("CHECKPOINT")


def renumber(binaries: Path, data: Path, epoch: int, next_id: int) -> None:
    """Let a stopped cluster go on with another transaction id, and give it a commit log for that."""
    who = runner()
    segment = next_id // (2**20)  # 32 pages of 8 KB, 2 bits a transaction
    log = data / "pg_xact" / f"{segment:04X}"
    log.write_bytes(bytes(256 * 1024))
    if who:
        subprocess.run(["chown", f"{who['user']}:{who['group']}", str(log)], check=True)
    command: list[str | Path] = [
        binaries / "pg_resetwal",
        "-f",
        "-e",
        str(epoch),
        "-x",
        str(next_id),
        "-u",
        str(next_id - 1000),
        data,
    ]
    subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, **who)


def changes_while_the_counter_turns(dsn: str) -> list[Cursor]:
    """Ten rounds of writes, an open transaction among them; after each the changes since EVERY earlier cursor."""
    with session_to(dsn) as session, psycopg.connect(dsn, autocommit=True) as db, psycopg.connect(dsn) as late:
        reader = table_reader(session, "job")
        cursors: list[tuple[Cursor, set[int]]] = []
        written: set[int] = set()
        late.execute("INSERT INTO job VALUES (100000)")
        for turn in range(1, 11):
            with reader.changes(None, None) as opened:
                cursors.append((opened.cursor, set(written)))
            written |= write(db, turn * 1000)
            if turn == 8:
                late.commit()
                written |= {100000}
            for since, known in cursors:
                with reader.changes(Strategy("window", ""), since) as opened:
                    found = {int(key[0]) for key, _ in opened.changed_keys()}
                assert written - known <= found, f"turn {turn}"
                assert found <= written, "a frozen row was taken for a new one"
    return [cursor for cursor, _ in cursors]
