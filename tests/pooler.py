"""pgbouncer in transaction mode with a single server connection, in front of a PostgreSQL of the tests."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.postgres import free_port, runner


@contextmanager
def pooling(dsn: str, root: Path) -> Iterator[str]:
    """Yield the DSN that leads through the pool. Skip the test where there is no pgbouncer.

    root: a folder that another user may search.
    """
    pgbouncer = shutil.which("pgbouncer")
    if pgbouncer is None:
        pytest.skip("no pgbouncer on this machine")
    server, port = conninfo_to_dict(dsn), free_port()
    folder = root / f"pgbouncer-{port}"
    folder.mkdir(mode=0o755)
    (folder / "users").write_text(f'"{server["user"]}" "{server["password"]}"\n', encoding="utf-8")
    (folder / "ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={server['port']}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {folder}/users\n"
        "pool_mode = transaction\ndefault_pool_size = 1\n",
        encoding="utf-8",
    )
    pooler = subprocess.Popen([pgbouncer, folder / "ini"], stderr=subprocess.DEVNULL, cwd="/", **runner())
    pooled = make_conninfo(dsn, port=port)
    try:
        _await(pooled)
        yield pooled
    finally:
        pooler.terminate()
        pooler.wait(10)


def _await(dsn: str) -> None:
    for _ in range(100):
        try:
            psycopg.connect(dsn, prepare_threshold=None).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("pgbouncer did not start")
