"""Replicas: what lags is waited for, what was lost is told, and nothing is read backwards."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from byov_migrate.errors import Retriable
from byov_migrate.source import (
    Changes,
    Cursor,
    NoStrategy,
    Session,
    Strategy,
    TableReader,
    replay_gap,
    source_identity,
    went_back,
)
from byov_migrate.source.activity import read_activity
from tests.postgres import runner, running, session_to, system_binaries, table_reader

WINDOW = Strategy("window", "")
REPLAY_S = 20
TURNS = 60


@dataclass
class Pair:
    """A primary with an open administrator, and its standby."""

    primary: str
    standby: str
    on_primary: psycopg.Connection[Any]
    on_standby: psycopg.Connection[Any]

    def caught_up(self) -> None:
        """Wait until the standby holds what the primary has written."""
        lsn = self.on_primary.execute("SELECT pg_current_wal_lsn()").fetchall()[0][0]
        deadline = time.monotonic() + REPLAY_S
        while not self.on_standby.execute("SELECT pg_last_wal_replay_lsn() >= %s", (lsn,)).fetchall()[0][0]:
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.01)

    def pause(self) -> None:
        """Let the standby fall behind."""
        self.on_standby.execute("SELECT pg_wal_replay_pause()")
        while self.on_standby.execute("SELECT pg_get_wal_replay_pause_state()").fetchall()[0][0] != "paused":
            self.on_primary.execute("SELECT pg_logical_emit_message(true, '', '')")
            time.sleep(0.01)

    def resume(self) -> None:
        """Let it catch up."""
        self.on_standby.execute("SELECT pg_wal_replay_resume() WHERE pg_is_in_recovery()")


def base_backup(binaries: Path, dsn: str, folder: Path, *options: str) -> Path:
    """A copy of a running server."""
    folder.mkdir(mode=0o700)
    who = runner()
    if who:
        shutil.chown(folder, who["user"], who["group"])
    always = ["-X", "stream", "-c", "fast", "--no-sync"]
    command: list[str | Path] = [binaries / "pg_basebackup", "-D", folder, "-d", dsn, *always, *options]
    subprocess.run(command, check=True, cwd="/", **who)
    return folder


@pytest.fixture(scope="module")
def binaries() -> Path:
    """PostgreSQL's programs."""
    found = system_binaries()
    if found is None:
        pytest.skip("no PostgreSQL in /usr/lib/postgresql")
    return found


@pytest.fixture
def pair(binaries: Path, servers_root: Path, tmp_path: Path) -> Iterator[Pair]:
    """As `Pair`, with a table `job` of one row."""
    root = servers_root / tmp_path.name
    small = ["--locale=C.UTF-8", "--wal-segsize=1"]
    with running(binaries, root / "primary", ["autovacuum=off", "min_wal_size=2MB"], small) as primary:
        copy = base_backup(binaries, primary, root / "standby", "-R")
        settings = ["max_standby_streaming_delay=0", "hot_standby=on"]
        with (
            running(binaries, copy, settings) as standby,
            psycopg.connect(primary, autocommit=True) as on_primary,
            psycopg.connect(standby, autocommit=True) as on_standby,
        ):
            on_primary.execute("CREATE TABLE job (id int PRIMARY KEY, n int, updated_at timestamptz DEFAULT now())")
            on_primary.execute("INSERT INTO job VALUES (0, 0)")
            both = Pair(primary, standby, on_primary, on_standby)
            both.caught_up()
            yield both
            both.resume()


def reader_of(session: Session, **settings: Any) -> TableReader:
    """A reader of `job`."""
    return table_reader(session, "job", **settings)


def cursor_of(reader: TableReader, since: Cursor | None = None) -> Cursor:
    """The state of now."""
    with reader.changes(None, since) as opened:
        return opened.cursor


def changed(reader: TableReader, since: Cursor) -> set[int]:
    """The ids of what changed."""
    with reader.changes(WINDOW, since) as opened:
        return {int(key[0]) for key, _ in opened.changed_keys()}


@pytest.mark.slow
def test_a_replica_that_lags_is_refused_until_it_holds_what_was_read(pair: Pair) -> None:
    """By every connection: the balancer may lead the next one to another replica."""
    with session_to(pair.primary) as on_primary, session_to(pair.standby) as session:
        reader, since = reader_of(session), cursor_of(reader_of(on_primary))
        pair.caught_up()
        assert changed(reader, since) == set()
        pair.pause()
        pair.on_primary.execute("INSERT INTO job VALUES (1, 0)")
        later = cursor_of(reader_of(on_primary))
        assert replay_gap(session, later.lsn) > 0
        assert went_back(session, later) is None
        with pytest.raises(Retriable, match=r"has still to replay \d+ bytes"):
            session.require_replayed(later.lsn)
        with pytest.raises(Retriable, match="has still to replay"), session.transaction():
            pass
        pair.resume()
        pair.caught_up()
        session.require_replayed(later.lsn)
        assert replay_gap(session, later.lsn) == replay_gap(on_primary, later.lsn) == 0
        assert changed(reader, since) == {1}
        assert changed(reader, later) == set()


@pytest.mark.slow
def test_no_change_is_lost_between_a_primary_and_a_replica_that_stops_and_goes(pair: Pair) -> None:
    """Each sync meets one of the two, at random, while transactions and savepoints stay open; the mirror ends equal."""
    draw = random.Random(20_242)  # noqa: S311
    with (
        session_to(pair.primary) as on_primary,
        session_to(pair.standby) as on_standby,
        psycopg.connect(pair.primary) as late,
    ):
        readers = [reader_of(on_primary), reader_of(on_standby)]
        since, mirror = cursor_of(readers[0]), {0: 0}
        paused, refused, synced = False, 0, [0, 0]
        for turn in range(1, TURNS):
            if turn % 4 == 0:
                paused = not paused
                (pair.pause if paused else pair.resume)()
            write(draw, turn, pair.on_primary, late)
            which = draw.randrange(2)
            if which and not paused and draw.random() < 0.5:
                pair.caught_up()
            try:
                since = sync(readers[which], since, mirror)
                synced[which] += 1
            except Retriable:
                refused += 1
        late.commit()
        pair.resume()
        pair.caught_up()
        sync(readers[1], since, mirror)
        assert mirror == dict(pair.on_primary.execute("SELECT id, n FROM job").fetchall())
    assert min(*synced, refused) > 2, "the schedule tried too little"


def write(draw: random.Random, turn: int, db: psycopg.Connection[Any], late: psycopg.Connection[Any]) -> None:
    """One transaction at once, and a step of one that stays open."""
    db.execute("INSERT INTO job VALUES (%s, 0)", (turn,))
    db.execute("UPDATE job SET n = n + 1 WHERE id = %s", (draw.randrange(turn),))
    late.execute("SAVEPOINT a")
    late.execute("INSERT INTO job VALUES (%s, 0)", (10_000 + turn,))
    late.execute(draw.choice(["RELEASE a", "ROLLBACK TO a"]))
    if draw.random() < 0.2:
        late.commit()


def sync(reader: TableReader, since: Cursor, mirror: dict[int, int]) -> Cursor:
    """Read the changes, then the rows they name, as a job does."""
    reader.session.require_replayed(since.lsn)
    with reader.changes(WINDOW, since) as opened:
        keys = [key for key, _ in opened.changed_keys()]
        cursor = opened.cursor
    reader.session.require_replayed(cursor.lsn)
    if keys:
        with reader.session.transaction() as transaction:
            ids = [int(key[0]) for key in keys]
            mirror |= dict(transaction.fetch("SELECT id, n FROM public.job WHERE id = ANY (%s)", (ids,)))
    return cursor


@pytest.mark.slow
def test_the_watermark_needs_the_primary(pair: Pair) -> None:
    """A replica shows none of the transactions that are open there; the one known before stays true."""
    settings = {"changed_by": "updated_at", "strategy": "watermark"}
    with session_to(pair.primary) as on_primary, session_to(pair.standby) as session:
        since = cursor_of(reader_of(on_primary))
        pair.caught_up()
        reader = reader_of(session, **settings)
        refused = reader.strategy(since, 1)
        assert isinstance(refused, NoStrategy)
        assert "connect to the primary" in refused.reasons[0]
        assert cursor_of(reader).watermark is None
        assert cursor_of(reader, since).watermark == since.watermark is not None
        assert isinstance(reader_of(session).strategy(since, 1), Strategy)


@pytest.mark.slow
def test_a_look_at_the_primary_says_nothing_of_a_replicas_snapshot(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A balancer may lead the two to two servers: what is over on the one may be unseen on the other."""
    with session_to(pair.primary) as on_primary, session_to(pair.standby) as session:
        reader = reader_of(session)
        elsewhere = read_activity(on_primary)
        assert elsewhere.watermark is not None
        monkeypatch.setattr("byov_migrate.source.changes.read_activity", lambda _: elsewhere)
        assert cursor_of(reader).watermark is None


@pytest.mark.slow
def test_a_query_that_a_replica_cancels_can_be_asked_again(pair: Pair) -> None:
    """Rows that the primary has vacuumed away are taken from under the reader; so says the error's class."""
    pair.on_primary.execute("INSERT INTO job SELECT n, 0 FROM generate_series(1, 50000) n")
    pair.caught_up()
    with session_to(pair.standby) as session:
        reader = reader_of(session)
        with pytest.raises(Retriable), reader.changes(None, None) as opened:
            read_while_it_is_vacuumed(pair, opened)
        with reader.changes(None, None) as opened:
            assert opened.key_sum().rows == 11


def read_while_it_is_vacuumed(pair: Pair, opened: Changes) -> None:
    """Most rows are taken away after the first batch."""
    keys = opened.all_keys()
    next(keys)
    pair.on_primary.execute("DELETE FROM job WHERE id > 10")
    pair.on_primary.execute("VACUUM job")
    pair.caught_up()
    list(keys)


@pytest.mark.slow
def test_a_promoted_replica_asks_for_a_full_pass(pair: Pair) -> None:
    """Commits that the old primary had not sent yet are lost; told by the timeline, at once after the promotion."""
    with session_to(pair.standby) as session:
        since = cursor_of(reader_of(session))
        assert went_back(session, since) is None
        pair.on_standby.execute("SELECT pg_promote()")
        told = went_back(session, since)
        assert told is not None
        assert "timeline 1 to 2" in told
        assert source_identity(session).timeline == cursor_of(reader_of(session)).timeline == 2


@pytest.mark.slow
def test_an_older_copy_is_never_read_as_if_it_were_newer(binaries: Path, servers_root: Path, pair: Pair) -> None:
    """As a replica it is waited for, as a primary it asks for a full pass: rows are never taken for deleted."""
    copy = base_backup(binaries, pair.primary, servers_root / f"{servers_root.name}-older")
    pair.on_primary.execute("INSERT INTO job SELECT n, 0 FROM generate_series(1, 1000) n")
    with session_to(pair.primary) as session:
        since = cursor_of(reader_of(session))
    signal = copy / "standby.signal"
    signal.touch()
    with running(binaries, copy) as dsn, session_to(dsn) as session:
        assert replay_gap(session, since.lsn) > 0
        with pytest.raises(Retriable, match="has still to replay"), reader_of(session).changes(WINDOW, since):
            pass
    signal.unlink()
    with running(binaries, copy) as dsn, session_to(dsn) as session:
        told = went_back(session, since)
        assert told is not None
        assert "WAL ends at" in told


@pytest.mark.slow
def test_an_idle_replica_reaches_the_position_of_an_idle_primary(pair: Pair) -> None:
    """Wherever in a page the last record ends: a sync of a database that nobody writes to must not wait for ever."""
    with session_to(pair.primary) as on_primary, session_to(pair.standby) as session:
        pair.on_primary.execute("SELECT pg_switch_wal()")
        pair.caught_up()
        session.require_replayed(cursor_of(reader_of(on_primary)).lsn)
