"""The target is away in the middle of a backfill: minutes are waited out, hours end the run, nothing is lost.

Everything is real but time: PostgreSQL, sockets, the sandbox, the state. A wait moves the clock on and takes no time.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from byov_migrate import backfill, load_config
from byov_migrate.errors import Unavailable
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.state import open_state
from tests.acceptance.migration import VECTOR_TABLE, Migration, Target, compare_items, make_vector_table
from tests.faults.exchange import IMPORT, Exchange, Fault, Seen, close_at_once, refuse
from tests.faults.faulty_rushdb import FaultyRushDB

ROWS, BATCH_ROWS, WRITERS = 400, 10, 2
KEYS = [str(3 * number - 50) for number in range(ROWS)]
IMPORTS_BEFORE = 27  # the first twenty batches are settled, the next ones are not
MINUTES, HOURS = 10 * 60.0, 2 * 3600.0
PATIENCE_S = 20 * 60.0  # `give_up_after` as it is by default
WAITS_AT_FIRST, WAITS_A_MINUTE = 12, 4
START_OF_TIME = 1_700_000_000.0


class Stop(threading.Event):
    """A stop switch that nobody throws; to wait for it moves a clock instead. `waits` are in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START_OF_TIME
        self.waits: list[float] = []
        self.when_later: Callable[[], None] = lambda: None
        self._moving = threading.Lock()

    def wait(self, timeout: float | None = None) -> bool:
        """Seconds pass at once."""
        assert timeout is not None
        with self._moving:
            self.now += timeout
            self.waits.append(timeout)
            self.when_later()
        return self.is_set()

    def surroundings(self) -> Surroundings:
        """Everything of a job that waits or looks at a clock does so here."""
        return Surroundings(clock=lambda: self.now, monotonic=lambda: self.now, stop=self)


class Door:
    """A relay before a server, on a port of its own, that can be shut: connections are cut and new ones refused."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "", parts.port or 0)
        self._address = ("127.0.0.1", 0)
        self.open()
        self.url = f"http://127.0.0.1:{self._address[1]}"

    def open(self) -> None:
        """Listen; again where it was."""
        self._ends: list[socket.socket] = []
        self._pumps: list[threading.Thread] = []
        self._listener = socket.create_server(self._address)
        self._address = self._listener.getsockname()
        self._accepting = _started(self._accept)

    def shut(self) -> None:
        """As when the process behind a port dies. May be called again."""
        _cut(self._listener)
        self._accepting.join()
        for end in self._ends:
            _cut(end)
        for pump in self._pumps:
            pump.join()

    def _accept(self) -> None:
        with self._listener as listener, contextlib.suppress(OSError):
            while True:
                client, server = listener.accept()[0], socket.create_connection(self._server)
                self._ends += [client, server]
                self._pumps += [_started(_pump, client, server), _started(_pump, server, client)]


def _started(task: Callable[..., None], *arguments: socket.socket) -> threading.Thread:
    thread = threading.Thread(target=task, args=arguments, daemon=True)
    thread.start()
    return thread


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with source, contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _cut(sink)


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@dataclass
class Outage:
    """The target's absence: it begins with one of the imports, which is carried out and not answered."""

    target: FaultyRushDB
    door: Door
    stop: Stop
    kind: str
    lasts_s: float
    begins: float = math.inf
    is_over: bool = False
    _beginning: threading.Lock = field(default_factory=threading.Lock)

    def decide(self, _seen: Seen) -> Fault | None:
        """What happens to a request."""
        with self._beginning:
            if math.isinf(self.begins) and len(self.target.calls(IMPORT)) >= IMPORTS_BEFORE:
                self.begins = self.stop.now
                return self._begin
        is_on = self.begins <= self.stop.now < self.begins + self.lasts_s
        return KINDS[self.kind] if is_on else None

    def _begin(self, exchange: Exchange) -> None:
        exchange.act()
        if self.kind == "refused":
            self.door.shut()
        exchange.reset()

    def end_when_due(self) -> None:
        """Open the door again."""
        if not self.is_over and self.stop.now >= self.begins + self.lasts_s:
            self.is_over = True
            if self.kind == "refused":
                self.door.open()


KINDS: dict[str, Fault | None] = {"refused": None, "503": refuse(503), "closed": close_at_once}


@dataclass
class Rig:
    """A backfill of real rows to a target that can go away."""

    migration: Migration
    target: FaultyRushDB
    door: Door
    stop: Stop

    def begin(self, kind: str, lasts_s: float) -> Outage:
        """From now on the target will be away once."""
        outage = Outage(self.target, self.door, self.stop, kind, lasts_s)
        self.target.decide, self.stop.when_later = outage.decide, outage.end_when_due
        return outage

    def backfill(self) -> int:
        """The exit code of a run of the library's function."""
        return backfill(load_config(self.migration.config, {}), surroundings=self.stop.surroundings()).exit_code

    def stored(self) -> dict[str, str]:
        """`byovKey` -> record id in the target."""
        return {record["byovKey"]: record["__id"] for record in self.migration.target.records(self.migration.label)}

    def settled(self) -> set[str]:
        """Keys that the state takes for stored; nothing may have been passed by that is not among them."""
        with contextlib.closing(open_state(self.migration.state, lambda: self.stop.now, create=False)) as state:
            known = state.ledger.known_keys("item", KEYS)
            (reading,) = state.journal.open_ranges("item")
            passed = {key for key in KEYS if reading.position and int(key) <= int(reading.position[0])}
            assert passed <= known
            assert state.runs.last(1)[0]["exit_code"] == Unavailable.exit_code
        return known


@pytest.fixture
def rig(database: str, faulty: FaultyRushDB, tmp_path: Path) -> Iterator[Rig]:
    """A table, its configuration, and the way to the target in order."""
    door = Door(faulty.url)
    migration = Migration(tmp_path / "migration", database, Target(faulty.honest_url, faulty.key))
    migration.write(VECTOR_TABLE, url=door.url, target=f"batch_rows = {BATCH_ROWS}\nwriters = {WRITERS}")
    yield Rig(migration, faulty, door, Stop())
    door.shut()


@pytest.mark.parametrize("kind", KINDS)
def test_an_outage_of_ten_minutes_is_waited_out(rig: Rig, kind: str) -> None:
    """The same run goes on by itself, has not asked all the time, and ends exact."""
    vectors = make_vector_table(rig.migration.dsn, ROWS, 8)
    outage = rig.begin(kind, MINUTES)

    code = rig.backfill()

    assert code == 0
    assert rig.stop.now >= outage.begins + MINUTES, "there was no outage"
    assert len(rig.stop.waits) <= WRITERS * WAITS_AT_FIRST + WAITS_A_MINUTE * MINUTES / 60
    account = compare_items(rig.migration, vectors)
    assert account.is_exact, account


@pytest.mark.parametrize("kind", KINDS)
def test_an_outage_of_two_hours_ends_the_run_and_the_next_one_is_exact(rig: Rig, kind: str) -> None:
    """It gives up after its patience, with 75; what it takes for stored is stored, and is never written again."""
    vectors = make_vector_table(rig.migration.dsn, ROWS, 8)
    outage = rig.begin(kind, HOURS)

    with pytest.raises(Unavailable) as ended:
        rig.backfill()

    assert ended.value.exit_code == 75
    assert outage.begins + PATIENCE_S <= rig.stop.now < outage.begins + HOURS
    settled, stored = rig.settled(), rig.stored()
    assert 0 < len(settled) <= len(stored) < ROWS
    assert settled <= stored.keys()

    rig.stop.wait(HOURS)
    code = rig.backfill()

    assert code == 0
    account = compare_items(rig.migration, vectors)
    assert account.is_exact, account
    assert {key: record for key, record in rig.stored().items() if key in settled} == {
        key: stored[key] for key in settled
    }
