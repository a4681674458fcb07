"""The RushDB key is replaced while a run goes on: another of the same project is used, one of another project never."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from byov_migrate import backfill
from byov_migrate.errors import CredentialsRefused, Refused, Retriable, Unavailable
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.sandbox import Access
from byov_migrate.target.http import HttpClient
from byov_migrate.target.rest import RestWire
from byov_migrate.target.wire import Outbound
from tests.faults.exchange import INDEXES, refuse
from tests.faults.faulty_rushdb import FaultyRushDB, FaultyServer, target_config
from tests.sync_rig import EXACT, SyncRig

LABEL = "Job"
ROWS = 5000
ROW = [Outbound("1", {"byovKey": "1"})]


class Keys:
    """The secret's file, and which keys the server takes."""

    def __init__(self, faulty: FaultyRushDB, server: FaultyServer) -> None:
        self._access = server.access
        self._project = server.access[faulty.key].project
        self.current = faulty.key
        self.read = 0

    def __call__(self) -> str:
        """Read the secret."""
        self.read += 1
        return self.current

    def replace(self, *, project: str | None = None, known: bool = True) -> str:
        """A new key takes the place of the old one, which is refused from now on."""
        before, self.current = self.current, f"key-{uuid.uuid4().hex}"
        self._access[before] = Access(self._project, "read")
        if known:
            self._access[self.current] = Access(project or self._project, "write")
        return before


@pytest.fixture
def keys(faulty: FaultyRushDB, shared_faulty_server: FaultyServer) -> Keys:
    """The first key is that of the visitor."""
    return Keys(faulty, shared_faulty_server)


@pytest.fixture
def wire(faulty: FaultyRushDB, keys: Keys) -> Iterator[RestWire]:
    """A wire that reads its key as a run does."""
    client = HttpClient(target_config(faulty.url), keys, timeout_s=5)
    with contextlib.closing(RestWire(client)) as opened:
        yield opened


def created(wire: RestWire, label: str = LABEL) -> int:
    """Write one record; how many there are then."""
    wire.create(label, ROW)
    return wire.find(label, {}, limit=1)[1]


def test_another_key_of_the_same_project_is_read_once_and_used(wire: RestWire, keys: Keys) -> None:
    """No restart, and nothing is written twice."""
    wire.create_index(LABEL, "description", 8, "cosine")
    assert created(wire) == 1
    for count in (2, 3):
        keys.replace()
        assert created(wire) == count
    assert keys.read == 3


def test_a_key_of_another_project_is_refused_and_nothing_is_written_there(wire: RestWire, keys: Keys) -> None:
    """It would be taken for everything: half of the rows would lie in one project and half in the other."""
    wire.create_index(LABEL, "description", 8, "cosine")
    keys.replace(project="another")
    for _ in range(2):
        with pytest.raises(Refused, match="another project") as caught:
            wire.create(LABEL, ROW)
    assert caught.value.exit_code == 4
    other = HttpClient(target_config(keys_url(wire)), keys, timeout_s=5)
    with contextlib.closing(RestWire(other)) as honest:
        assert honest.find(LABEL, {}, limit=1)[1] == 0


def keys_url(wire: RestWire) -> str:
    """Where the wire leads."""
    return str(wire._http._client.base_url)


@pytest.mark.parametrize("by_writing", [True, False])
def test_without_an_index_a_new_key_ends_a_run_that_is_at_work(wire: RestWire, keys: Keys, *, by_writing: bool) -> None:
    """Nothing names the project then; the next run looks for its marker first."""
    if by_writing:
        wire.create(LABEL, ROW)
    else:
        wire.find("ByovMigration", {}, limit=1)
    keys.replace()
    with pytest.raises(Unavailable, match="key was changed"):
        wire.create(LABEL, ROW)


def test_before_anything_is_written_any_key_will_do(wire: RestWire, keys: Keys) -> None:
    """The marker is still to be looked for."""
    wire.server()
    keys.replace()
    assert created(wire) == 1


def test_a_new_key_that_nobody_knows_is_refused(wire: RestWire, keys: Keys) -> None:
    """A typing error in the new secret ends 77, as at the start."""
    wire.create_index(LABEL, "description", 8, "cosine")
    keys.replace(known=False)
    with pytest.raises(CredentialsRefused):
        wire.create(LABEL, ROW)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_new_key_that_cannot_be_judged_yet_is_tried_again(
    faulty: FaultyRushDB, wire: RestWire, keys: Keys, status: int
) -> None:
    """The write was refused with the old key, so nothing has happened, and nothing may happen before."""
    wire.create_index(LABEL, "description", 8, "cosine")
    keys.replace()
    faulty.on(INDEXES, refuse(status))
    with pytest.raises(Retriable):
        wire.create(LABEL, ROW)
    assert created(wire) == 1


def test_threads_that_are_refused_together_change_the_key_once(wire: RestWire, keys: Keys) -> None:
    """Three writers at work when it is replaced."""
    wire.create_index(LABEL, "description", 8, "cosine")
    keys.replace()
    together = threading.Barrier(3)

    def write(number: int) -> None:
        together.wait()
        wire.create(LABEL, [Outbound(f"{number}", {"byovKey": f"{number}"})])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    assert wire.find(LABEL, {}, limit=1)[1] == 3
    assert keys.read == 2


@pytest.fixture
def rig(faulty: FaultyRushDB, database: str, tmp_path: Path) -> SyncRig:
    """Enough rows for several batches, not yet moved."""
    made = SyncRig(tmp_path, database, faulty.url, faulty.key)
    made.make_table(ROWS)
    return made


def backfill_under(rig: SyncRig, keys: Keys, **replaced: Any) -> None:
    """A backfill during whose first batch the secret is replaced."""
    environment = {"DSN": rig.dsn, "KEY": rig.key}
    original = RestWire.attach

    def attach_then_replace(wire: RestWire, *arguments: Any) -> None:
        original(wire, *arguments)
        if environment["KEY"] == rig.key:
            keys.replace(**replaced)
            environment["KEY"] = keys.current

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(RestWire, "attach", attach_then_replace)
        backfill(rig.config(), surroundings=Surroundings(environment=environment))


def around_of(rig: SyncRig, keys: Keys) -> None:
    """From now on the rig looks with the key of now."""
    rig.key = keys.current


def test_a_backfill_goes_on_under_the_new_key(rig: SyncRig, keys: Keys) -> None:
    """Nothing is lost or doubled by the change."""
    backfill_under(rig, keys)
    around_of(rig, keys)
    assert rig.compare() == EXACT


def test_a_backfill_ends_4_under_a_key_of_another_project(rig: SyncRig, keys: Keys) -> None:
    """With the right key in the secret again it goes on."""
    with pytest.raises(Refused, match="another project"):
        backfill_under(rig, keys, project=f"another-{uuid.uuid4().hex}")
    around_of(rig, keys)
    assert rig.records() == []
    keys.replace()
    around_of(rig, keys)
    rig.backfill()
    assert rig.compare() == EXACT
