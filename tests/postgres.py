"""Throw-away PostgreSQL servers of the system's own build; the wheel's is run by the demo's launcher."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from byov_migrate.config import SourceConfig, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.records import KeyRange, Rejected, Row
from byov_migrate.source import Session, TableReader, connect, open_table

PASSWORD = "generated-for-tests"
START_S = 30


def session_to(dsn: str, **source: object) -> Session:
    """A session of the source room; `source` are further settings of `[source]`."""
    return connect(SourceConfig.model_validate({"dsn": {"env": "DSN"}, **source}), {"DSN": dsn})


def table_reader(session: Session, name: str, columns: Sequence[str] = ("id",), **table: object) -> TableReader:
    """A reader of one table, as `[[tables]]` would describe it."""
    config = TableConfig.model_validate({"name": name, "label": "Job", "columns": columns, **table})
    return open_table(session, config, Digests(b"k" * 32))


def read_all(reader: TableReader, rows_per_range: int = 10, page_rows: int = 4) -> list[Row | Rejected]:
    """Every row, by way of a plan and its pages."""
    rows: list[Row | Rejected] = []
    for number, (lower, upper) in enumerate(reader.plan_ranges(rows_per_range).ranges):
        for page in reader.pages(KeyRange(number, lower, upper), page_rows):
            rows += page.rows
    return rows


def password_of(dsn: str) -> str:
    """The superuser's password, which tests give to other roles too."""
    return str(conninfo_to_dict(dsn)["password"])


def hurry(dsn: str) -> None:
    """A server that nobody needs after the tests does not wait for the disk."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET fsync = off")
        admin.execute("ALTER SYSTEM SET full_page_writes = off")
        admin.execute("SELECT pg_reload_conf()")


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def runner() -> Mapping[str, Any]:
    """How to start a program that refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": "nobody", "group": "nogroup", "extra_groups": []}


def system_binaries() -> Path | None:
    """The newest `/usr/lib/postgresql/*/bin`, which is built with TLS; None without one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextmanager
def running(
    binaries: Path, data: Path, settings: Sequence[str] = (), init: Sequence[str] = ("--locale=C.UTF-8",)
) -> Iterator[str]:
    """Make a cluster in `data`, run it on loopback, yield the superuser's DSN, stop it.

    settings: as `name=value`.
    """
    who = runner()
    _make_cluster(binaries, data, who, init)
    port = free_port()
    options = [
        f"port={port}",
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "full_page_writes=off",
        *settings,
    ]
    arguments = [str(part) for option in options for part in ("-c", option)]
    with (data.parent / f"{data.name}.log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, *arguments],
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            **who,
        )
    dsn = make_conninfo(host="127.0.0.1", port=port, user="postgres", password=PASSWORD, dbname="postgres")
    try:
        _wait(server, dsn)
        yield dsn
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(START_S)


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """An empty database on a server, dropped at the end; yields the superuser's DSN."""
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield make_conninfo(server, dbname=name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _make_cluster(binaries: Path, data: Path, who: Mapping[str, Any], init: Sequence[str]) -> None:
    if (data / "PG_VERSION").exists():
        return
    data.mkdir(parents=True, exist_ok=True)
    secret = data.parent / f"{data.name}.password"
    secret.write_text(PASSWORD)
    for path in (data, secret) if who else ():
        shutil.chown(path, who["user"], who["group"])
    data.chmod(0o700)
    where: list[str | Path] = [binaries / "initdb", "-D", data, "-U", "postgres", f"--pwfile={secret}"]
    subprocess.run(
        [*where, "--encoding=UTF8", "--auth=scram-sha-256", "--no-sync", *init],
        check=True,
        cwd="/",
        stdout=subprocess.DEVNULL,
        **who,
    )


def _wait(server: subprocess.Popen[bytes], dsn: str) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
