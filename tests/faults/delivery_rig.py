"""A delivery to a misbehaving RushDB, in virtual time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from byov_migrate.records import Batch, Receipt
from byov_migrate.target import provision
from byov_migrate.target.delivery import Delivery, Destination, WriteMode
from byov_migrate.target.rest import RestWire
from tests.faults.batches import DIMENSION, LABEL, PROBES
from tests.faults.faulty_rushdb import FaultyRushDB
from tests.faults.virtual_time import VirtualTime

BUDGET_S = 7.0


@dataclass
class Rig:
    """A delivery to a faulty server, in virtual time."""

    faulty: FaultyRushDB
    time: VirtualTime
    wire: RestWire
    delivery: Delivery

    def deliver(self, *batches: Batch) -> list[Receipt]:
        """Send all, then confirm all."""
        return self.delivery.confirm([self.delivery.send(batch) for batch in batches])

    def assert_stored(self, keys: Sequence[str], vectors: int | None = None) -> None:
        """Exactly these records, each once, and as many vectors."""
        assert self.faulty.keys(LABEL) == sorted(keys)
        assert self.faulty.vectors() == (len(keys) if vectors is None else vectors)


Start = Callable[..., Rig]


@pytest.fixture
def start(faulty: FaultyRushDB, virtual_time: VirtualTime) -> Iterator[Start]:
    """Make a rig: `start(mode=..., timeout_s=...)`; the label is empty, its index exists, counting has begun."""
    with contextlib.ExitStack() as stack:

        def make(mode: WriteMode = "two-call", *, timeout_s: float = 0.5, give_up_after_s: float = 60.0) -> Rig:
            wire = faulty.wire(timeout_s=timeout_s)
            stack.callback(wire.close)
            patience = virtual_time.patience(give_up_after_s)
            indexes = provision.ensure_indexes(wire, patience, LABEL, {"description": DIMENSION})
            to = Destination(LABEL, indexes, mode, (PROBES,))
            delivery = Delivery(wire, to, patience, request_budget_s=BUDGET_S)
            delivery.begin_counting()
            return Rig(faulty, virtual_time, wire, delivery)

        yield make
