"""The server under test: the sandbox always, a real RushDB when the environment names one."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from byov_migrate.sandbox import running
from tests.contract.rushdb_api import Rushdb, data

TIMEOUT_S = 120.0


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rushdb]:
    """One server for the whole run."""
    url, key = os.environ.get("BYOV_TEST_RUSHDB_URL"), os.environ.get("BYOV_TEST_RUSHDB_API_KEY")
    with _real(url, key) if url and key else _sandbox(tmp_path_factory.mktemp("sandbox")) as rushdb:
        yield rushdb


@pytest.fixture
def rushdb(server: Rushdb) -> Iterator[Rushdb]:
    """The server, with the records and indexes of this test removed afterwards."""
    fresh = dataclasses.replace(server, labels=[], indexes=[])
    yield fresh
    fresh.clean_up()


@pytest.fixture
def label(rushdb: Rushdb) -> str:
    """A label that nobody has used, emptied after the test."""
    return rushdb.label()


@pytest.fixture
def text() -> str:
    """A property name of this test's own: index creation looks at all records of the project."""
    return f"text{secrets.token_hex(4)}"


@pytest.fixture
def read_key(rushdb: Rushdb) -> str:
    """A key that may only read the first key's project."""
    if rushdb.read_key is None:
        pytest.skip("BYOV_TEST_RUSHDB_READ_KEY is not set")
    return rushdb.read_key


@pytest.fixture
def other_key(rushdb: Rushdb) -> str:
    """A key that may write to a second project."""
    if rushdb.other_key is None:
        pytest.skip("BYOV_TEST_RUSHDB_OTHER_KEY is not set")
    return rushdb.other_key


@pytest.fixture
def make_unique(rushdb: Rushdb) -> Iterator[Callable[[str, str], None]]:
    """A function that makes a property of a label unique, as the operator of a server would."""
    made: list[tuple[str, str]] = []

    def make(label: str, name: str) -> None:
        _constrain(rushdb, label, name, create=True)
        made.append((label, name))

    yield make
    for label, name in made:
        _constrain(rushdb, label, name, create=False)


def _constrain(rushdb: Rushdb, label: str, name: str, *, create: bool) -> None:
    if rushdb.is_sandbox:
        body = {"label": label, "property": name}
        data(
            rushdb.http.request("POST" if create else "DELETE", "/__sandbox__/constraints", json=body),
            201 if create else 200,
        )
    elif rushdb.cypher is None:
        pytest.skip("BYOV_TEST_NEO4J_CYPHER is not set: nobody can make the constraint")
    elif create:
        rushdb.cypher(f"CREATE CONSTRAINT `{label}_{name}` FOR (n:`{label}`) REQUIRE n.`{name}` IS UNIQUE")
    else:
        rushdb.cypher(f"DROP CONSTRAINT `{label}_{name}`")


@contextmanager
def _sandbox(folder: Path) -> Iterator[Rushdb]:
    keys = {"read_key": secrets.token_hex(8), "other_key": secrets.token_hex(8)}
    key = secrets.token_hex(8)
    with (
        running(folder, key, read_key=keys["read_key"], other_key=keys["other_key"]) as sandbox,
        httpx.Client(base_url=sandbox.url, timeout=TIMEOUT_S) as http,
    ):
        yield Rushdb(http, sandbox.url, key, keys["read_key"], keys["other_key"], is_sandbox=True)


@contextmanager
def _real(url: str, key: str) -> Iterator[Rushdb]:
    command = os.environ.get("BYOV_TEST_NEO4J_CYPHER")
    root = url.rstrip("/").removesuffix("/api/v1")
    with httpx.Client(base_url=root, timeout=TIMEOUT_S, trust_env=False) as http:
        yield Rushdb(
            http,
            root,
            key,
            os.environ.get("BYOV_TEST_RUSHDB_READ_KEY"),
            os.environ.get("BYOV_TEST_RUSHDB_OTHER_KEY"),
            cypher=_cypher(command) if command else None,
        )


def _cypher(command: str) -> Callable[[str], object]:
    return lambda statement: subprocess.run([*shlex.split(command), statement], check=True, capture_output=True)
