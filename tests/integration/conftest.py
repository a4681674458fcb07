"""Fixtures for what is read from PostgreSQL: on each server that this machine has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from byov_migrate.source import Session, TableReader
from tests.changes import FAST
from tests.postgres import fresh_database, session_to, table_reader
from tests.search_rig import SearchRig, search_rig


@pytest.fixture
def db(any_database: str) -> Iterator[psycopg.Connection[Any]]:
    """The superuser, on each server that this machine has."""
    with psycopg.connect(any_database, autocommit=True, prepare_threshold=None) as connection:
        yield connection


@pytest.fixture
def session(any_database: str) -> Iterator[Session]:
    """A session of the superuser."""
    with session_to(any_database) as opened:
        yield opened


@pytest.fixture
def job(db: psycopg.Connection[Any], session: Session) -> TableReader:
    """A table of 20 rows that nobody has changed for a minute."""
    db.execute("CREATE TABLE job (id int PRIMARY KEY, title text, gone boolean, updated_at timestamptz)")
    db.execute("INSERT INTO job SELECT n, 'a', false, now() - interval '1 min' FROM generate_series(1, 20) n")
    return table_reader(session, "job", where=["title = a"], deleted_when="gone = true", **FAST)


@pytest.fixture(scope="session")
def searched(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchRig]:
    """Postings that were moved and linked; no test may change them."""
    with fresh_database(postgres) as dsn, search_rig(tmp_path_factory.mktemp("searched"), dsn) as rig:
        yield rig
