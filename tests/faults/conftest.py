"""The misbehaving server as a fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.delivery_rig import start
from tests.faults.faulty_rushdb import FaultyRushDB, FaultyServer, faulty_server
from tests.faults.virtual_time import VirtualTime

__all__ = ["start"]


@pytest.fixture(scope="session")
def shared_faulty_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    """Proxy and sandbox for the whole run; tests see a project of their own."""
    with faulty_server(tmp_path_factory.mktemp("faulty-rushdb")) as server:
        yield server


@pytest.fixture
def faulty(shared_faulty_server: FaultyServer) -> Iterator[FaultyRushDB]:
    """A RushDB that does what the test says; every fault that was queued must have been met."""
    with shared_faulty_server.visitor() as visitor:
        yield visitor
    assert visitor.unused == []


@pytest.fixture
def virtual_time() -> VirtualTime:
    """Time in which waiting costs nothing."""
    return VirtualTime()
