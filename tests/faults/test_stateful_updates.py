"""Any order of adding, changing, clearing, deleting, failing and being killed: hypothesis looks for a wrong end.

BYOV_TEST_EXAMPLES sets how many orders are tried.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from byov_migrate.errors import MigrationError
from byov_migrate.records import Batch, Known, Receipt, Way
from byov_migrate.target import provision
from byov_migrate.target.delivery import Accepted, Delivery, Destination
from tests.faults import exchange
from tests.faults.batches import DIMENSION, PROBES
from tests.faults.exchange import Fault, Seen
from tests.faults.faulty_rushdb import FaultyServer
from tests.faults.late_time import LateTime
from tests.faults.update_rig import Wanted, batch_for, has_vector_of, unique_keys

BUDGET_S = 7.0
EXAMPLES = int(os.environ.get("BYOV_TEST_EXAMPLES", "25"))
RECORDS = "import or PUT"
WRITES = (RECORDS, exchange.UPSERT)
READS = (exchange.STATS, exchange.SEARCH, exchange.VECTOR_SEARCH)
FAULTS: dict[str, Fault] = {
    "act, close": exchange.act_then_close,
    "act, 502": exchange.act_then(502),
    "close": exchange.close_at_once,
    "half": exchange.half_body,
    "lost commit": exchange.lose_commit,
    "503": exchange.refuse(503),
    "403": exchange.refuse(403),
    "twice": exchange.act_twice_then_close,
}
CHANGES = st.one_of(
    st.fixed_dictionaries({"title": st.sampled_from(["Pilot", "Driver", "Cook"])}),
    st.fixed_dictionaries({"text": st.sampled_from(["one", "two", "three", None])}),
    st.fixed_dictionaries({"extra": st.sampled_from(["x", None])}),
)


def faults(paths: Sequence[str], names: Sequence[str]) -> st.SearchStrategy[tuple[str, str] | None]:
    """No fault, or one: a path and a name."""
    return st.none() | st.tuples(st.sampled_from(paths), st.sampled_from(names))


WRITE_FAULTS = faults(WRITES, sorted(FAULTS)) | faults(WRITES, ["lost commit"]) | faults(WRITES, ["late"])
READ_FAULTS = faults(READS, ["act, close", "half", "503"])
DELETE_FAULTS = faults([exchange.DELETE], sorted(FAULTS))


@dataclass
class Ledger:
    """What a state keeps: proved records, and batches that were begun. A plain model of the real one."""

    known: dict[str, Known] = field(default_factory=dict)
    begun: dict[str, Batch] = field(default_factory=dict)
    holds: dict[str, Wanted] = field(default_factory=dict)  # what the records were proved to hold

    def begin(self, batch: Batch) -> None:
        """From now on nothing is known of what the batch's records hold."""
        self.begun[batch.id] = batch
        for item in batch.rows:
            if (known := self.known.get(item.document.key)) is not None:
                self.known[item.document.key] = dataclasses.replace(known, hash="")

    def settle(self, receipt: Receipt, wanted: Mapping[str, Wanted]) -> None:
        """The batch is proved."""
        del self.begun[receipt.batch.id]
        for item in receipt.batch.rows:
            key = item.document.key
            self.known[key] = Known(receipt.record_ids[key], item.document.hash, item.document.text_hashes)
            self.holds[key] = wanted[key]


class Updater(RuleBasedStateMachine):
    """Rows as they should be, a ledger, and a delivery that may be killed between any two steps."""

    def __init__(self, server: FaultyServer, *, unique: bool) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.faulty = self.stack.enter_context(server.visitor())
        self.label = f"Stateful{secrets.token_hex(6)}"
        if unique:
            self.stack.enter_context(unique_keys(self.faulty.honest_url, self.label))
        self.unique = unique
        self.time = LateTime()
        self.waiting: list[tuple[Accepted, dict[str, Wanted]]] = []
        self.wanted: dict[str, Wanted] = {}
        self.ids: dict[str, str] = {}  # as first proved
        self.ledger = Ledger()
        self.added = 0
        self.faulty.decide = self.decide
        self.writes: list[Fault] = []
        self.delivery = self.started()

    def decide(self, seen: Seen) -> Fault | None:
        """What happens to the next request that writes records."""
        is_write = seen.method == "PUT" or seen.path.endswith(exchange.IMPORT)
        return self.writes.pop(0) if is_write and self.writes else None

    def started(self) -> Delivery:
        """A delivery as a new process has it: what was begun is looked for, new records of it are removed."""
        wire = self.faulty.wire(timeout_s=2.0)
        self.stack.callback(wire.close)
        patience = self.time.patience(600.0)
        indexes = provision.ensure_indexes(wire, patience, self.label, {"description": DIMENSION})
        to = Destination(self.label, indexes, "two-call", (PROBES,), unique=lambda: self.unique)
        delivery = Delivery(wire, to, patience, request_budget_s=BUDGET_S)
        self.time.sleep(BUDGET_S)
        for batch in list(self.ledger.begun.values()):
            keep = {known.record_id for known in self.ledger.known.values()}
            found = delivery.look_for(batch.id, keep)
            delivery.discard([record_id for record_id in found.values() if record_id not in keep])
            del self.ledger.begun[batch.id]
        delivery.begin_counting()
        return delivery

    @initialize(texts=st.lists(st.sampled_from(["one", None]), min_size=2, max_size=5))
    def begin(self, texts: list[str | None]) -> None:
        """Rows that are stored and proved."""
        for text in texts:
            self.add(text)
        self.sync(None)
        self.checkpoint(None)

    @rule(text=st.sampled_from(["one", None]))
    def add(self, text: str | None) -> None:
        """A new row in the source."""
        self.added += 1
        self.wanted[str(self.added)] = Wanted(text=text, extra="x")

    @rule(data=st.data(), change=CHANGES)
    def change(self, data: st.DataObject, change: dict[str, str | None]) -> None:
        """A value that is not embedded, what is embedded or its end, a value that disappears or comes back."""
        for key in data.draw(st.sets(st.sampled_from(sorted(self.wanted)), min_size=1)) if self.wanted else ():
            self.wanted[key] = Wanted(**{**dataclasses.asdict(self.wanted[key]), **change})

    @rule(fault=WRITE_FAULTS)
    def sync(self, fault: tuple[str, str] | None) -> None:
        """Send everything that is not as it should be and not under way."""
        self._queue(fault)
        flying = {key for _, rows in self.waiting for key in rows}
        ways = {key: self._way(key) for key in self.wanted if key not in flying}  # before the first batch is begun
        for way in ("append", "rewrite", "create"):
            rows = {key: self.wanted[key] for key, chosen in ways.items() if chosen == way}
            if rows and not self._send(rows, way):
                return

    def _way(self, key: str) -> Way | None:
        known, holds, wanted = self.ledger.known.get(key), self.ledger.holds.get(key), self.wanted[key]
        if known is None or holds is None:
            return "create"
        if known.hash and holds == wanted:
            return None
        is_kept = known.hash and holds.text == wanted.text and not (holds.extra and wanted.extra is None)
        return "append" if self.unique and is_kept else "rewrite"

    def _send(self, rows: dict[str, Wanted], way: Way) -> bool:
        batch = batch_for(rows, way, self.ledger.known)
        self.ledger.begin(batch)
        try:
            self.waiting.append((self.delivery.send(batch), rows))
        except MigrationError:
            self.kill()
            return False
        return True

    @rule(fault=READ_FAULTS)
    def checkpoint(self, fault: tuple[str, str] | None) -> None:
        """Confirm and settle what was accepted."""
        self._queue(fault)
        try:
            receipts = self.delivery.confirm([accepted for accepted, _ in self.waiting])
        except MigrationError:
            self.kill()
            return
        for receipt, (_, rows) in zip(receipts, self.waiting, strict=True):
            self.ledger.settle(receipt, rows)
            for key, record_id in receipt.record_ids.items():
                assert self.ids.setdefault(key, record_id) == record_id
        self.waiting = []

    @rule(data=st.data(), change=CHANGES, path=st.sampled_from(WRITES), name=st.sampled_from(["lost commit", "late"]))
    def change_and_lose(self, data: st.DataObject, change: dict[str, str | None], path: str, name: str) -> None:
        """A whole run in which a write is answered and not kept, or carried out late: only a question finds it."""
        self.change(data, change)
        self.sync((path, name))
        self.checkpoint(None)

    @rule(data=st.data(), fault=DELETE_FAULTS)
    def delete(self, data: st.DataObject, fault: tuple[str, str] | None) -> None:
        """Rows that are gone from the source: removed after everything else is settled."""
        self.checkpoint(None)
        self._queue(fault)
        gone = (
            data.draw(st.sets(st.sampled_from(sorted(self.ledger.known)), max_size=2)) if self.ledger.known else set()
        )
        with contextlib.suppress(MigrationError):
            self.delivery.discard([self.ledger.known[key].record_id for key in sorted(gone)])
            for key in gone:
                for kept in (self.ledger.known, self.ledger.holds, self.ids, self.wanted):
                    kept.pop(key, None)

    @rule()
    def kill(self) -> None:
        """The process is gone, and with it everything that is not in the ledger; the next one recovers."""
        self.waiting = []
        for _ in range(20):
            with contextlib.suppress(MigrationError):
                self.delivery = self.started()
                return
        raise AssertionError("recovery never came through")

    def _queue(self, fault: tuple[str, str] | None) -> None:
        """The next request of a kind goes wrong."""
        if fault is None:
            return
        path, name = fault
        chosen = self.time.act_after(0.9 * BUDGET_S) if name == "late" else FAULTS[name]
        if path == RECORDS:
            self.writes.append(chosen)
        else:
            self.faulty.on(path, chosen)

    def teardown(self) -> None:
        """Without further faults one sync brings everything: each key once, under its id, each vector the newest."""
        try:
            self.faulty.clear()
            self.writes.clear()
            self.checkpoint(None)
            self.sync(None)
            self.checkpoint(None)
            self.delivery.wait_until_quiet()
            self.time.drain()
            self.assert_exact()
        finally:
            self.stack.close()

    def assert_exact(self) -> None:
        """The target is the model."""
        stored = {str(record["byovKey"]): record for record in self.faulty.records(self.label)}
        assert self.faulty.keys(self.label) == sorted(self.wanted)
        wire = self.faulty.honest_wire()
        [index] = wire.indexes()
        for key, wanted in self.wanted.items():
            shown = {name: stored[key][name] for name in ("title", "extra") if name in stored[key]}
            assert shown == wanted.properties()
            assert stored[key]["__id"] == self.ids[key]
            assert has_vector_of(wire, index, key, wanted), key
        assert wire.count_vectors(index) == sum(wanted.text is not None for wanted in self.wanted.values())


@pytest.mark.parametrize("unique", [True, False], ids=["append and rewrite", "put"])
def test_no_order_of_changes_faults_and_kills_loses_doubles_or_leaves_an_old_vector(
    shared_faulty_server: FaultyServer,
    unique: bool,  # noqa: FBT001 - pytest calls it by name
) -> None:
    """The model is what the source holds; at the end the target holds exactly this, under unchanged ids."""

    class Machine(Updater):
        """The updater, before this server."""

        def __init__(self) -> None:
            super().__init__(shared_faulty_server, unique=unique)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
