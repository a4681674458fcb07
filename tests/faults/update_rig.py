"""Records that are stored, linked and known, a delivery that writes over them, and a look at what became of them."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import httpx
import pytest

from byov_migrate.digests import probe_scores
from byov_migrate.jobs.documents import Composer
from byov_migrate.records import Batch, Embedded, Known, Outgoing, Receipt, Row, Vector, Way
from byov_migrate.target import provision
from byov_migrate.target.delivery import Delivery, Destination
from byov_migrate.target.rest import RestWire
from byov_migrate.target.wire import Index
from tests.faults.batches import DIMENSION, PROBES, composer, vector_for
from tests.faults.faulty_rushdb import FaultyRushDB
from tests.faults.late_time import LateTime

BUDGET_S = 7.0
Route: TypeAlias = Literal["append", "rewrite", "put"]
ROUTES: tuple[Route, ...] = ("append", "rewrite", "put")
REWRITES: tuple[Route, ...] = ("rewrite", "put")


@dataclass(frozen=True)
class Wanted:
    """A row as the source has it. `text` names its vector; None: no text, no vector."""

    title: str = "Driver"
    text: str | None = "one"
    extra: str | None = None

    def properties(self) -> dict[str, Outgoing]:
        """What is sent of it."""
        given = {"title": self.title, "extra": self.extra}
        return {name: value for name, value in given.items() if value is not None}

    def vector(self, key: str) -> Vector | None:
        """The vector of its text."""
        return None if self.text is None else vector_for(f"{key} {self.text}")


def batch_for(rows: Mapping[str, Wanted], way: Way = "create", known: Mapping[str, Known] | None = None) -> Batch:
    """A batch of these rows, all written in one way over what is known of them."""
    maker = composer()
    return maker.batch([_embedded(maker, key, wanted, way, (known or {}).get(key)) for key, wanted in rows.items()], ())


def _embedded(maker: Composer, key: str, wanted: Wanted, way: Way, known: Known | None) -> Embedded:
    vector = wanted.vector(key)
    document = maker.document(Row(key, (key,), wanted.properties(), (vector,), way, known))
    if vector is None or way == "append":  # nothing is embedded for a row whose text is unchanged
        return Embedded(document, (None,), (None,))
    return Embedded(document, (vector,), (probe_scores(vector[None, :], PROBES)[0],))


@contextlib.contextmanager
def unique_keys(honest_url: str, label: str) -> Iterator[None]:
    """The operator's constraint on a label, dropped at the end."""
    body = {"label": label, "property": "byovKey"}
    httpx.post(f"{honest_url}/__sandbox__/constraints", json=body).raise_for_status()
    yield
    httpx.request("DELETE", f"{honest_url}/__sandbox__/constraints", json=body).raise_for_status()


@dataclass
class Updates:
    """A label of its own behind a faulty server, and what a state would know of it."""

    faulty: FaultyRushDB
    time: LateTime
    label: str
    route: Route
    wire: RestWire
    delivery: Delivery
    index: Index
    rows: dict[str, Wanted] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)

    @property
    def way(self) -> Way:
        """How this rig writes over a record."""
        return "append" if self.route == "append" else "rewrite"

    def store(self, keys: Sequence[str], wanted: Wanted | None = None) -> None:
        """Rows that are stored, proved and linked before anything goes wrong."""
        rows = dict.fromkeys(keys, wanted or Wanted())
        [receipt] = self.delivery.confirm([self.delivery.send(batch_for(rows))])
        self.learn(receipt)
        self.rows |= rows
        self._link()

    def learn(self, receipt: Receipt) -> None:
        """What a state keeps of a receipt."""
        for item in receipt.batch.rows:
            document = item.document
            if document.key in receipt.record_ids:
                record_id = receipt.record_ids[document.key]
                self.known[document.key] = Known(record_id, document.hash, document.text_hashes)

    def _link(self) -> None:
        place = f"{self.label}Place"
        self._honest("/records/import/json", {"label": place, "data": [{"title": "Driver"}]})
        ends = {"source": {"label": self.label, "key": "title"}, "target": {"label": place, "key": "title"}}
        self._honest("/relationships/create-many", {**ends, "type": "AT", "direction": "out"})

    def _honest(self, path: str, body: object) -> None:
        headers = {"authorization": f"Bearer {self.faulty.key}"}
        httpx.post(f"{self.faulty.honest_url}/api/v1{path}", json=body, headers=headers).raise_for_status()

    def changed(self, keys: Sequence[str], wanted: Wanted) -> Batch:
        """A batch that writes over these keys; they are wanted so from now on."""
        rows = dict.fromkeys(keys, wanted)
        self.rows |= rows
        return batch_for(rows, self.way, self.known)

    def change(self) -> Wanted:
        """A change that fits the route: of a value alone where vectors stay, else of the text too."""
        return Wanted("Pilot") if self.route == "append" else Wanted("Pilot", "two")

    def deliver(self, *batches: Batch) -> list[Receipt]:
        """Send all, confirm all, and let whatever is late happen."""
        receipts = self.delivery.confirm([self.delivery.send(batch) for batch in batches])
        self.delivery.wait_until_quiet()
        self.time.drain()
        return receipts

    def write_path(self, key: str) -> str:
        """Where the write of a key goes."""
        return f"/records/{self.known[key].record_id}" if self.route == "put" else "/records/import/json"

    def ids(self) -> dict[str, str]:
        """Key -> record id as the state knows it."""
        return {key: known.record_id for key, known in self.known.items()}

    def assert_exact(self, *, moved: Sequence[str] = ()) -> None:
        """Every row once, as wanted, under its id and with its link (but for `moved`), each vector the newest."""
        records, wire = self.faulty.records(self.label), self.faulty.honest_wire()
        assert sorted(str(record["byovKey"]) for record in records) == sorted(self.rows)
        for record in records:
            key = str(record["byovKey"])
            assert {name: record[name] for name in ("title", "extra") if name in record} == self.rows[key].properties()
            assert (record["__id"] == self.known[key].record_id) == (key not in moved), key
            assert has_vector_of(wire, self.index, key, self.rows[key]), key
        assert wire.count_vectors(self.index) == sum(wanted.text is not None for wanted in self.rows.values())
        linked = {f"{self.label}Place": {"$relation": {"type": "AT", "direction": "out"}}}
        assert wire.find(self.label, linked, limit=1)[1] == len(self.rows) - len(moved)


def has_vector_of(wire: RestWire, index: Index, key: str, wanted: Wanted) -> bool:
    """Whether a record carries the vector of its text and no other."""
    vector = wanted.vector(key)
    hits = wire.search(index, PROBES[0] if vector is None else vector, where={"byovKey": key}, limit=9)
    scores = [hit.score or 0.0 for hit in hits]
    return scores == [] if vector is None else scores == [pytest.approx(1.0, abs=1e-6)]


StartUpdates: TypeAlias = Callable[..., Updates]


@pytest.fixture
def updates(faulty: FaultyRushDB) -> Iterator[StartUpdates]:
    """Make a rig: `updates(route)`; rows "1" to "4" are stored, linked and proved."""
    with contextlib.ExitStack() as stack:

        def make(route: Route, *, keys: Sequence[str] = ("1", "2", "3", "4"), give_up_after_s: float = 60.0) -> Updates:
            label = f"Update{secrets.token_hex(6)}"
            if route != "put":
                stack.enter_context(unique_keys(faulty.honest_url, label))
            wire = faulty.wire(timeout_s=0.5)
            stack.callback(wire.close)
            time = LateTime()
            patience = time.patience(give_up_after_s)
            indexes = provision.ensure_indexes(wire, patience, label, {"description": DIMENSION})
            to = Destination(label, indexes, "two-call", (PROBES,), unique=lambda: route != "put")
            delivery = Delivery(wire, to, patience, request_budget_s=BUDGET_S, writers=3)
            delivery.begin_counting()
            rig = Updates(faulty, time, label, route, wire, delivery, indexes[0])
            rig.store(keys)
            faulty.seen.clear()
            return rig

        yield make
