from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.acceptance.migration import COMMAND, Migration
from tests.acceptance.network_lab import DATABASE, RUSHDB, Lab, lab, missing_means
from tests.models import real_model

ROWS = 60
TABLE = """
[models.small]
path = "{model}"
[[tables]]
name = "posting"
label = "{label}"
columns = ["id", "title"]
[[tables.embeddings]]
property = "description"
text = "{title}\\n{description}"
model = "small"
"""
INSECURE = 'tls = "insecure"'  # the cable ends in this test; neither server has a certificate for it
STRAY = """
import socket
for kind, address in (
    (socket.SOCK_DGRAM, ("192.0.2.53", 53)),
    (socket.SOCK_DGRAM, ("127.0.0.53", 53)),
    (socket.SOCK_DGRAM, ("2001:db8::53", 53)),
    (socket.SOCK_STREAM, ("192.0.2.1", 443)),
    (socket.SOCK_STREAM, ("10.77.0.1", 9999)),
):
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, kind) as stray:
        stray.settimeout(0.3)
        try:
            stray.connect(address)
            stray.send(b"a question")
        except OSError:
            pass
"""

MISSING = missing_means()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture
def isolated(migration: Migration) -> Iterator[Lab]:
    """A network in which the migration's two servers are all that answers, and a migration that uses it."""
    parts = urlsplit(migration.target.url)
    source = conninfo_to_dict(migration.dsn)
    with lab((str(source["host"]), int(str(source["port"]))), (str(parts.hostname), parts.port or 80)) as made:
        yield made


def _configure(migration: Migration) -> None:
    """The configuration as it would be with the two servers elsewhere, by address."""
    outside, migration.dsn = migration.dsn, make_conninfo(migration.dsn, host=DATABASE[0], port=DATABASE[1])
    migration.write(TABLE.replace("{model}", str(real_model())), url=f"http://{RUSHDB[0]}:{RUSHDB[1]}", target=INSECURE)
    migration.dsn = outside
    text = migration.config.read_text(encoding="utf-8")
    migration.config.write_text(text.replace("[source]\n", f"[source]\n{INSECURE}\n"), encoding="utf-8")


def _run(network: Lab, migration: Migration, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The installed command with the lab's network; its environment allows it everything that it must not want."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(migration.folder), "HF_HUB_OFFLINE": "0"}
    command = [COMMAND, *arguments, "-c", str(migration.config)]
    return network.run(command, folder=migration.folder, environment=environment)


def _fill(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("create table posting (id int primary key, title text, description text)")
        for number in range(ROWS):
            trade = ("baker", "welder", "nurse", "pilot")[number % 4]
            row = (number, f"{trade} {number}", f"We look for a {trade} who starts in week {number}.")
            connection.execute("insert into posting values (%s, %s, %s)", row)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tool_speaks_to_its_two_servers_and_to_nobody_else(migration: Migration, isolated: Lab) -> None:
    """Backfill and search with a real model: no packet to any other address or port, no question for a name."""
    _fill(migration.dsn)
    _configure(migration)

    done = _run(isolated, migration, "backfill", "--json")
    found = _run(isolated, migration, "search", "somebody who bakes bread", "--json", "--limit", "3")
    missed = isolated.witness.stop()

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tables"][0]["rows_stored"] == ROWS
    assert found.returncode == 0, found.stderr
    assert "baker" in json.loads(found.stdout)["hits"][0]["text"]
    assert missed == 0
    assert isolated.witness.sent == {("tcp", *DATABASE), ("tcp", *RUSHDB)}


def test_the_witness_sees_what_must_not_be(isolated: Lab, tmp_path: Path) -> None:
    """Questions for names, other addresses, other ports, either version of IP and the loopback are all noticed."""
    isolated.run([sys.executable, "-c", STRAY], folder=tmp_path, environment={"PATH": os.environ["PATH"]})
    isolated.witness.stop()
    expected = {
        ("udp", "192.0.2.53", 53),
        ("udp", "127.0.0.53", 53),
        ("tcp", "192.0.2.1", 443),
        ("tcp", "10.77.0.1", 9999),
    }
    if Path("/proc/sys/net/ipv6").exists():
        expected.add(("udp", "2001:db8::53", 53))
    assert isolated.witness.sent == expected
