"""Fixtures for whole runs: a target in a process of its own, and migrations against it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.migration import COMMAND, Migration, Target

KEY = "acceptance-key"


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The RushDB that BYOV_TEST_RUSHDB_URL names, else a sandbox in a process of its own."""
    if url := os.environ.get("BYOV_TEST_RUSHDB_URL"):
        yield Target(url, os.environ["BYOV_TEST_RUSHDB_API_KEY"], is_sandbox=False)
        return
    data = tmp_path_factory.mktemp("sandbox")
    process = subprocess.Popen(
        [COMMAND, "sandbox", "--listen", "127.0.0.1:0", "--data", str(data)],
        env={**os.environ, "BYOV_SANDBOX_API_KEY": KEY},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines = [process.stderr.readline(), process.stderr.readline()]
    assert lines[1].startswith("http://"), lines
    yield Target(lines[1].strip(), KEY)
    process.terminate()
    process.communicate(timeout=20)


@pytest.fixture
def migration(database: str, target: Target, tmp_path: Path) -> Iterator[Migration]:
    """A migration over a fresh database; what it wrote is removed afterwards."""
    made = Migration(tmp_path / "migration", database, target)
    made.folder.mkdir()
    yield made
    target.clear(made.label)


@pytest.fixture
def another(target: Target, database: str, tmp_path: Path) -> Callable[[str], Migration]:
    """A second migration over the same database, in a folder of this name."""

    def make(name: str) -> Migration:
        folder = tmp_path / name
        folder.mkdir()
        return Migration(folder, database, target)

    return make
