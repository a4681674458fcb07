"""Fixtures for whole runs: a target in a process of its own, migrations against it, and a hunt for what they leak."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.acceptance.canaries import API_KEY, CANARY, KEY, PASSWORD, TEXT, WORD, Heard, Hunt
from tests.acceptance.migration import COMMAND, Migration, Target
from tests.acceptance.recorder import Recording, recording

OWNER = "acceptance"
REAL_URL = os.environ.get("BYOV_TEST_RUSHDB_URL")


@pytest.fixture(scope="session")
def wanted() -> dict[str, str]:
    """What no acceptance test may leave anywhere: what it is -> the thing itself."""
    return {TEXT: CANARY, KEY: os.environ["BYOV_TEST_RUSHDB_API_KEY"] if REAL_URL else API_KEY, WORD: PASSWORD}


@pytest.fixture(scope="session")
def traffic(tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, str]) -> Iterator[Recording]:
    """A sandbox and all that is sent to it; what it stored and said is searched when all tests are over.

    Nothing is between a test and the RushDB that BYOV_TEST_RUSHDB_URL names, since tests kill that one.
    """
    if REAL_URL:
        yield Recording(REAL_URL)
        return
    hunt = Hunt(tmp_path_factory.mktemp("sandbox"), wanted)
    with _sandbox(hunt) as url, recording(url) as record:
        yield record
    assert hunt.leaks([]) == []


@contextlib.contextmanager
def _sandbox(hunt: Hunt) -> Iterator[str]:
    process = subprocess.Popen(
        [COMMAND, "sandbox", "--listen", "127.0.0.1:0", "--data", str(hunt.folder)],
        env={**os.environ, "BYOV_SANDBOX_API_KEY": hunt.wanted[KEY]},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines = [process.stderr.readline(), process.stderr.readline()]
    assert lines[1].startswith("http://"), lines
    yield lines[1].strip()
    process.terminate()
    hunt.heard.append(Heard(["byov-migrate", "sandbox"], b"", process.communicate(timeout=20)[1].encode()))


@pytest.fixture(scope="session")
def target(traffic: Recording, wanted: dict[str, str]) -> Target:
    """The RushDB that BYOV_TEST_RUSHDB_URL names, else the sandbox."""
    return Target(traffic.url, wanted[KEY], is_sandbox=not REAL_URL)


@pytest.fixture(autouse=True)
def hunt(tmp_path: Path, wanted: dict[str, str], traffic: Recording, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hunt]:
    """After each test everything that it wrote below `tmp_path`, said and sent is searched for canaries and secrets."""
    made = Hunt(tmp_path, wanted)
    made.listen(monkeypatch)
    traffic.sent.clear()
    yield made
    assert made.leaks(map(bytes, traffic.sent)) == []


@pytest.fixture(scope="session")
def owner(postgres: str) -> str:
    """The name of a superuser whose password is a canary."""
    create = sql.SQL("create role {} superuser login password {}")
    with psycopg.connect(postgres) as connection:
        connection.execute(create.format(sql.Identifier(OWNER), sql.Literal(PASSWORD)))
    return OWNER


@pytest.fixture
def source(database: str, owner: str) -> str:
    """A fresh database, by way of the password that is hunted for."""
    return make_conninfo(database, user=owner, password=PASSWORD)


@pytest.fixture
def migration(source: str, target: Target, tmp_path: Path) -> Iterator[Migration]:
    """A migration over a fresh database; what it wrote is removed afterwards."""
    made = Migration(tmp_path / "migration", source, target)
    made.folder.mkdir()
    yield made
    if not target.is_sandbox:  # what was sent was not recorded
        assert CANARY not in repr(list(target.records(made.label)))
    target.clear(made.label)


@pytest.fixture
def another(target: Target, source: str, tmp_path: Path) -> Callable[[str], Migration]:
    """A second migration over the same database, in a folder of this name."""

    def make(name: str) -> Migration:
        folder = tmp_path / name
        folder.mkdir()
        return Migration(folder, source, target)

    return make
