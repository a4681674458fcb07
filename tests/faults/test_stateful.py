"""Any order of writing, confirming, failing and being killed: hypothesis looks for one that loses or doubles."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from byov_migrate.errors import MigrationError
from byov_migrate.jobs.recovery import settle_intents
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.state import State, open_state
from byov_migrate.target import provision
from byov_migrate.target.delivery import Accepted, Delivery, Destination
from tests.faults import exchange
from tests.faults.batches import DIMENSION, LABEL, PROBES, batch_of, vector_for
from tests.faults.exchange import Fault
from tests.faults.faulty_rushdb import FaultyServer
from tests.faults.virtual_time import VirtualTime

TABLE = "public.job"
EMBEDDINGS = ("description",)
BUDGET_S = 1.0
EXAMPLES = int(os.environ.get("BYOV_TEST_EXAMPLES", "25"))
FAULTS: dict[str, Fault] = {
    "act, close": exchange.act_then_close,
    "act, reset": exchange.act_then_reset,
    "act, 502": exchange.act_then(502),
    "close": exchange.close_at_once,
    "half": exchange.half_body,
    "lost commit": exchange.lose_commit,
    "503": exchange.refuse(503),
    "408": exchange.refuse(408),
    "403": exchange.refuse(403),
    "twice": exchange.act_twice_then_close,
}
PATHS = (exchange.IMPORT, exchange.UPSERT, exchange.DELETE, exchange.STATS, exchange.SEARCH, exchange.VECTOR_SEARCH)


class Writer(RuleBasedStateMachine):
    """Rows wanted in the target, a journal, and a delivery that may be killed between any two steps."""

    def __init__(self, server: FaultyServer) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.faulty = self.stack.enter_context(server.visitor())
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.path = Path(folder) / "state.db"
        self.now = 1_700_000_000.0
        self.wanted: list[str] = []
        self.waiting: list[Accepted] = []
        self.state = self.opened()
        self.delivery = self.started()

    def opened(self) -> State:
        """The state, for a run of its own."""
        state = open_state(self.path, lambda: self.now, create=True)
        state.runs.begin_run("backfill")
        return state

    def started(self) -> Delivery:
        """A delivery as a new process has it, after recovery."""
        wire = self.faulty.wire(timeout_s=2.0)
        self.stack.callback(wire.close)
        patience = VirtualTime().patience(600.0)
        indexes = provision.ensure_indexes(wire, patience, LABEL, {"description": DIMENSION})
        to = Destination(LABEL, indexes, "two-call", (PROBES,))
        delivery = Delivery(wire, to, patience, request_budget_s=BUDGET_S, writers=2)
        around = Surroundings(clock=lambda: self.now + 3600)
        settle_intents(
            TABLE, EMBEDDINGS, self.state, delivery, patience, request_budget_s=BUDGET_S, surroundings=around
        )
        delivery.begin_counting()
        return delivery

    @rule(rows=st.integers(1, 4), bare=st.booleans())
    def add_rows(self, rows: int, bare: bool) -> None:  # noqa: FBT001 - hypothesis calls it by name
        """New rows in the source, sent as one batch with whatever is not settled or under way."""
        first = len(self.wanted)
        self.wanted += [f"{'b' if bare else 'v'}{number}" for number in range(first, first + rows)]
        self.send_rest()

    def send_rest(self) -> None:
        """Send every row that is neither stored nor accepted; a run that fails is a run that is killed."""
        under_way = {item.document.key for accepted in self.waiting for item in accepted.batch.rows}
        stored = self.state.ledger.known_keys(TABLE, self.wanted)
        keys = [key for key in self.wanted if key not in stored and key not in under_way]
        if not keys:
            return
        batch = batch_of(keys, bare=[key for key in keys if key.startswith("b")])
        self.state.journal.intend(TABLE, batch, EMBEDDINGS)
        try:
            self.waiting.append(self.delivery.send(batch))
        except MigrationError:
            self.kill()

    @rule()
    def checkpoint(self) -> None:
        """Confirm and settle what was accepted."""
        try:
            receipts = self.delivery.confirm(self.waiting)
        except MigrationError:
            self.kill()
            return
        self.state.journal.advance(TABLE, receipts, EMBEDDINGS)
        self.waiting = []

    @rule()
    def kill(self) -> None:
        """The process is gone, and with it everything that is not in the state; the next one recovers."""
        self.waiting = []
        self.state.close()
        self.state = self.opened()
        for _ in range(20):
            with contextlib.suppress(MigrationError):
                self.delivery = self.started()
                return
        raise AssertionError("recovery never came through")

    @rule(path=st.sampled_from(PATHS), name=st.sampled_from(sorted(FAULTS)))
    def fail_next(self, path: str, name: str) -> None:
        """The next request of this kind goes wrong."""
        self.faulty.on(path, FAULTS[name])

    @rule(path=st.sampled_from([exchange.IMPORT, exchange.UPSERT]))
    def lie_next(self, path: str) -> None:
        """The next write is answered with success and not kept: the fault that nothing but a question finds."""
        self.faulty.on(path, exchange.lose_commit)

    def teardown(self) -> None:
        """Without further faults one run brings everything: each key once, each vector as it was sent."""
        try:
            self.faulty.clear()
            self.kill()
            self.send_rest()
            self.checkpoint()
            assert self.faulty.keys(LABEL) == sorted(self.wanted)
            assert self.stale_or_missing() == []
        finally:
            self.state.close()
            self.stack.close()

    def stale_or_missing(self) -> list[str]:
        """Keys whose vector is not the nearest to itself."""
        wire = self.faulty.honest_wire()
        [index] = wire.indexes()
        wrong = []
        for key in (key for key in self.wanted if key.startswith("v")):
            hits = wire.search(index, vector_for(key), where={"byovKey": key}, limit=1)
            if not hits or (hits[0].score or 0.0) < 1 - 1e-6:
                wrong.append(key)
        return wrong


def test_no_order_of_faults_and_kills_loses_or_doubles_a_row(shared_faulty_server: FaultyServer) -> None:
    """The model is the list of wanted keys; at the end the target holds exactly these."""

    class Machine(Writer):
        """The writer, before this server."""

        def __init__(self) -> None:
            super().__init__(shared_faulty_server)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
