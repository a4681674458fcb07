"""What the sandbox promises beyond imitating RushDB: it keeps what it answered, starts, stops and says what it is."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.types import Receive, Scope, Send

from byov_migrate.sandbox import Store, create_app, keys_for, running, serve
from tests.contract.rushdb_api import Rushdb, data

KEY = "sandbox-key"
SERVE = """
import sys
from pathlib import Path
from byov_migrate.sandbox import serve
serve("127.0.0.1:0", Path(sys.argv[1]), sys.argv[2], lambda line: print(line, flush=True))
"""


@contextmanager
def process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[str], Rushdb]]:
    """The sandbox in a process of its own, the lines of its start, and a client."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder), KEY], stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        lines = [started.stdout.readline().strip() for _ in range(2)]
        try:
            with httpx.Client(base_url=lines[1], timeout=30) as http:
                yield started, lines, Rushdb(http, lines[1], KEY, is_sandbox=True)
        finally:
            started.kill()


def fill(rushdb: Rushdb) -> str:
    """Two linked records, one of them with a vector; returns the index."""
    index = rushdb.index("Job", "text", 3)
    job = rushdb.create("Job", [{"k": "a", "text": ""}])[0]
    rushdb.create("Company", [{"k": "a"}])
    rushdb.put_vectors(index, [(job["__id"], [0.1, 0.2, 0.3])])
    data(rushdb.join("Job", "k", "Company", "k", "POSTED_BY"), 201)
    return index


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    """Records, vectors, links and the project's identity are on disk before the answer is sent."""
    with process(tmp_path) as (started, _, rushdb):
        index = fill(rushdb)
        project = data(rushdb.call("GET", "/ai/indexes"))[0]["projectId"]
        started.send_signal(signal.SIGKILL)
        started.wait(10)
    with process(tmp_path) as (_, _, rushdb):
        assert rushdb.stats(index) == (1, 1)
        assert rushdb.exact("Job", "text", [0.1, 0.2, 0.3])[0]["__score"] == pytest.approx(1, abs=2e-7)
        assert rushdb.linked("Job", "Company", "POSTED_BY") == 1
        assert data(rushdb.call("GET", "/ai/indexes"))[0]["projectId"] == project


def test_it_says_that_it_is_not_rushdb(tmp_path: Path) -> None:
    """Nobody should take it for the product."""
    with process(tmp_path) as (_, lines, _):
        assert lines[0].startswith("RushDB sandbox, not RushDB: for trying and testing")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["interrupt", "terminate"])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """It returns instead of dying, so that the command chooses the exit code."""
    with process(tmp_path) as (started, _, rushdb):
        fill(rushdb)
        started.send_signal(number)
        assert started.wait(10) == 0


def test_it_announces_its_request_budget(tmp_path: Path) -> None:
    """A killed run's unsettled batches wait one second here, not sixty."""
    with running(tmp_path, KEY) as sandbox, httpx.Client(base_url=sandbox.url) as http:
        assert data(http.get("/api/v1/settings"))["byovSandbox"] == {"requestBudget": 1}


def test_a_taken_port_is_an_error_at_once(tmp_path: Path) -> None:
    """The command can name the port; nothing is left listening."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        serve(f"127.0.0.1:{taken.getsockname()[1]}", tmp_path, KEY)


@pytest.mark.parametrize("listen", ["here", "127.0.0.1:", "127.0.0.1:http"])
def test_a_listen_that_is_no_address_is_a_value_error(tmp_path: Path, listen: str) -> None:
    """HOST:PORT, and the port a number."""
    with pytest.raises(ValueError, match="HOST:PORT"):
        serve(listen, tmp_path, KEY)


def test_its_files_can_be_opened_again_with_other_keys(tmp_path: Path) -> None:
    """A key names a project; it is not stored."""
    for key in ("first", "second"):
        with running(tmp_path, key) as sandbox, httpx.Client(base_url=sandbox.url) as http:
            Rushdb(http, sandbox.url, key, is_sandbox=True).create("Job", [{"k": key}])
    with running(tmp_path, "third") as sandbox, httpx.Client(base_url=sandbox.url) as http:
        assert Rushdb(http, sandbox.url, "third", is_sandbox=True).total("Job") == 2


def test_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    """Requests take turns: four writers, every row once."""
    with running(tmp_path, KEY) as sandbox, httpx.Client(base_url=sandbox.url, timeout=60) as http:
        rushdb = Rushdb(http, sandbox.url, KEY, is_sandbox=True)
        index = rushdb.index("Job", "text", 3)

        def load(writer: int) -> None:
            for batch in range(5):
                rows = [{"k": f"{writer}/{batch}/{row}", "text": ""} for row in range(50)]
                records = rushdb.create("Job", rows)
                rushdb.put_vectors(index, [(record["__id"], [1.0, writer, batch]) for record in records])

        threads = [threading.Thread(target=load, args=(writer,)) for writer in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert rushdb.stats(index) == (1000, 1000)
        keys = {record["k"] for record in rushdb.find("Job", limit=1000)}
        assert len(keys) == 1000


def test_a_failed_request_leaves_counts_and_vectors_as_they_were(tmp_path: Path) -> None:
    """Statistics come from counts kept beside the records: a rollback must reach them too."""
    with running(tmp_path, KEY) as sandbox, httpx.Client(base_url=sandbox.url) as http:
        rushdb = Rushdb(http, sandbox.url, KEY, is_sandbox=True)
        index = fill(rushdb)
        rushdb.exact("Job", "text", [1.0, 0.0, 0.0])
        bad = {"k": "c", "text": "", "$vectors": [{"propertyName": "text", "vector": [1.0]}]}
        good = {"k": "b", "text": "", "$vectors": [{"propertyName": "text", "vector": [1.0, 0.0, 0.0]}]}
        assert rushdb.import_rows("Job", [good, bad]).status_code == 404
        assert rushdb.stats(index) == (1, 1)
        assert len(rushdb.exact("Job", "text", [1.0, 0.0, 0.0])) == 1


def test_the_application_can_be_wrapped(tmp_path: Path) -> None:
    """A middleware that misbehaves sees plain ASGI; the store below stays honest."""
    with closing(Store(tmp_path)) as store:
        app = create_app(store, keys_for(KEY))

        async def passing(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)

        transport = httpx.ASGITransport(passing)
        assert _status(transport) == 200


def _status(transport: httpx.ASGITransport) -> int:
    async def ask() -> int:
        async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as http:
            headers = {"authorization": f"Bearer {KEY}"}
            return (await http.post("/api/v1/records/search", json={}, headers=headers)).status_code

    return anyio.run(ask)


def test_nothing_but_its_folder_is_written(tmp_path: Path) -> None:
    """Everything is below the data directory, made when it is not there."""
    folder = tmp_path / "deep" / "data"
    with running(folder, KEY) as sandbox, httpx.Client(base_url=sandbox.url) as http:
        fill(Rushdb(http, sandbox.url, KEY, is_sandbox=True))
    assert {path.name.split(".")[0] for path in folder.iterdir()} == {"sandbox"}
