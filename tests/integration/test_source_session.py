"""Sessions: read only, no trace in a pooler, opened again when lost."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from byov_migrate.config import SourceConfig
from byov_migrate.errors import (
    ConfigurationError,
    CredentialsRefused,
    MigrationError,
    PersonNeeded,
    Retriable,
    Unavailable,
)
from byov_migrate.source import Session, connect, source_identity
from tests.pooler import pooling
from tests.postgres import (
    free_port,
    password_of,
    read_all,
    runner,
    running,
    session_to,
    system_binaries,
    table_reader,
)

CANARY = "canary-5f0c"
# What a neighbour could see of us in a session that was ours before.
SETTINGS = """
SELECT name, setting FROM pg_settings
 WHERE name IN ('search_path', 'TimeZone', 'DateStyle', 'IntervalStyle', 'bytea_output', 'extra_float_digits',
                'lc_monetary', 'client_encoding', 'statement_timeout', 'lock_timeout', 'application_name',
                'idle_in_transaction_session_timeout', 'xmloption', 'transaction_read_only',
                'default_transaction_read_only')
 ORDER BY name
"""


def test_nothing_can_be_written(database: str) -> None:
    """Not even by the superuser, and not through a function."""
    with (
        session_to(database) as session,
        pytest.raises(MigrationError, match="25006"),
        session.transaction() as transaction,
    ):
        transaction.fetch("CREATE TABLE x ()")


def test_settings_end_with_their_transaction(database: str) -> None:
    """Inside, values have one text whatever the role's defaults are; outside, nothing of ours is left."""
    with session_to(database) as session:
        before = session._connection.execute(SETTINGS).fetchall()
        with session.transaction() as transaction:
            inside = dict(transaction.fetch(SETTINGS))
        assert session._connection.execute(SETTINGS).fetchall() == before
    assert inside["search_path"] == "pg_catalog"
    assert (inside["TimeZone"], inside["DateStyle"], inside["IntervalStyle"]) == ("UTC", "ISO, YMD", "postgres")
    assert inside["transaction_read_only"] == "on"


def test_the_roles_own_defaults_change_no_value(database: str) -> None:
    """Hashes hang on the text: a DBA's `ALTER ROLE` must not make every row look changed."""
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("CREATE TABLE job (id timestamptz PRIMARY KEY, f float8, b bytea, i interval)")
        db.execute("INSERT INTO job VALUES ('2024-01-01 00:00:00+00', 0.1, 'x', '1 day 2 hours')")

        def rows() -> Any:
            with session_to(database) as session:
                return read_all(table_reader(session, "job", ["id", "f", "b", "i"]))

        before = rows()
        for setting in (
            "timezone = 'Asia/Kolkata'",
            "datestyle = 'German'",
            "intervalstyle = 'iso_8601'",
            "bytea_output = 'escape'",
            "extra_float_digits = -10",
            "client_encoding = 'LATIN1'",
            "search_path = 'nowhere'",
        ):
            db.execute(f"ALTER ROLE postgres SET {setting}")
        try:
            assert rows() == before
        finally:
            db.execute("ALTER ROLE postgres RESET ALL")


def test_a_lost_connection_is_retriable_and_then_opened_again(database: str, tmp_path: Path) -> None:
    """A restart of the database costs one page, and a password that changed meanwhile is read anew."""
    secret = tmp_path / "dsn"
    secret.write_text(database)
    secret.chmod(0o600)
    with connect(SourceConfig.model_validate({"dsn": {"file": secret}}), {}) as session:
        with pytest.raises(Retriable), session.transaction() as transaction:
            transaction.fetch("SELECT pg_terminate_backend(pg_backend_pid())")
        with session.transaction() as transaction:
            pid = transaction.fetch("SELECT pg_backend_pid()")[0][0]
        with psycopg.connect(database, autocommit=True) as db:
            db.execute("SELECT pg_terminate_backend(%s)", (pid,))
        time.sleep(0.2)
        with session.transaction() as transaction:  # nothing had been asked yet, so nobody notices
            assert transaction.fetch("SELECT 1") == [(1,)]
        secret.write_text("host=127.0.0.1 port=1")
        session.close()
        with pytest.raises(Unavailable), session.transaction():
            pass


@pytest.mark.parametrize(
    ("changed", "expected", "told"),
    [
        ({"password": CANARY}, CredentialsRefused, "user or the password"),
        ({"user": "nobody-here", "password": CANARY}, CredentialsRefused, "user or the password"),
        ({"dbname": "nowhere"}, ConfigurationError, "no database nowhere"),
        ({"port": "1"}, Unavailable, "does not answer"),
        ({"host": "no-such-host.invalid"}, PersonNeeded, "no host no-such-host.invalid"),
    ],
)
def test_a_connection_that_fails_says_where_and_never_with_what(
    changed: dict[str, str], expected: type[MigrationError], told: str, postgres: str
) -> None:
    """The wrong class wakes the wrong person; libpq's text may quote the password."""
    with pytest.raises(expected, match=told) as caught:
        session_to(make_conninfo(postgres, **changed), tls="insecure")
    assert CANARY not in f"{caught.value}{caught.value.next_step}"


def test_too_many_connections_pass_by_themselves(postgres: str) -> None:
    """The next run of cron finds a place."""
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute(f"CREATE ROLE crowded LOGIN PASSWORD '{password_of(postgres)}' CONNECTION LIMIT 0")
        try:
            with pytest.raises(Unavailable):
                session_to(make_conninfo(postgres, user="crowded"))
        finally:
            db.execute("DROP ROLE crowded")


def test_a_statement_that_is_too_slow_is_retriable(database: str) -> None:
    """A hanging query would hang the run."""
    with (
        session_to(database) as session,
        pytest.raises(Retriable),
        session.transaction(statement_timeout_s=1) as transaction,
    ):
        transaction.fetch("SELECT pg_sleep(30)")


def test_an_error_of_the_caller_leaves_the_session_usable(database: str) -> None:
    """The transaction must be rolled back, not left open for the next one to fail in."""
    with session_to(database) as session:
        with pytest.raises(ZeroDivisionError), session.transaction():
            raise ZeroDivisionError
        with session.transaction("repeatable read") as transaction:
            assert transaction.fetch("SELECT current_setting('transaction_isolation')") == [("repeatable read",)]


@pytest.fixture
def replica(servers_root: Path) -> Iterator[tuple[str, str]]:
    """The DSNs of a primary and of its physical replica."""
    binaries = system_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL in /usr/lib/postgresql")
    folder = servers_root / f"replica-{free_port()}"
    folder.mkdir()
    if runner():
        shutil.chown(folder, "nobody", "nogroup")
    with running(binaries, folder / "primary") as primary:
        command = (binaries / "pg_basebackup", "-D", folder / "standby", "-R", "-c", "fast", "-d", primary)
        subprocess.run(command, check=True, cwd="/", **runner())
        with running(binaries, folder / "standby") as standby:
            yield primary, standby


def test_a_replica_is_read_like_a_primary(replica: tuple[str, str]) -> None:
    """There no transaction id can be had, and whatever asks for one fails."""
    primary, standby = replica
    with psycopg.connect(primary, autocommit=True) as db:
        db.execute("CREATE TABLE job (id int PRIMARY KEY); INSERT INTO job SELECT generate_series(1, 30)")
        end = db.execute("SELECT pg_current_wal_lsn()").fetchone()
        assert end is not None
    with session_to(standby) as session:
        _wait_for(session, str(end[0]))
        assert source_identity(session).in_recovery
        reader = table_reader(session, "job")
        assert len(read_all(reader)) == reader.plan_ranges().rows == 30
        with session_to(primary) as other:
            assert source_identity(other).system_identifier == source_identity(session).system_identifier


def _wait_for(session: Session, position: str) -> None:
    for _ in range(200):
        with session.transaction() as transaction:
            if transaction.fetch("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (position,)) == [(True,)]:
                return
        time.sleep(0.05)
    pytest.fail("the replica does not follow")


@pytest.fixture
def pooled(database: str, servers_root: Path) -> Iterator[str]:
    """A DSN through pgbouncer in transaction mode with a single server connection."""
    with pooling(database, servers_root) as dsn:
        yield dsn


def test_a_neighbour_in_the_pool_sees_nothing_of_us(pooled: str) -> None:
    """With one server connection, whatever we leave behind is the neighbour's next query."""
    with psycopg.connect(pooled, autocommit=True, prepare_threshold=None) as neighbour:
        before = neighbour.execute(SETTINGS).fetchall()
        neighbour.execute("CREATE TABLE job (id int PRIMARY KEY, title text)")
        neighbour.execute("INSERT INTO job SELECT n, 't' FROM generate_series(1, 50) AS n")
        with session_to(pooled) as session:
            reader = table_reader(session, "job", ["id", "title"])
            assert len(read_all(reader, 10, 3)) == 50
            assert neighbour.execute(SETTINGS).fetchall() == before
            with pytest.raises(MigrationError), session.transaction() as transaction:
                transaction.fetch("SELECT 1 / 0")
            assert neighbour.execute(SETTINGS).fetchall() == before
            neighbour.execute("INSERT INTO job VALUES (99, 'still writable')")
        assert neighbour.execute(SETTINGS).fetchall() == before
