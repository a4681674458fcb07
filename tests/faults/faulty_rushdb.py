"""A RushDB that misbehaves: a proxy on a real socket before a real sandbox.

    client ──► proxy (acts or not, answers, lies, cuts, hangs) ──► sandbox (stores, or rolls back and answers 2xx)

What goes wrong is said request by request: `on(path, *faults)` queues faults for the next requests whose path ends so,
`decide` looks at every request that no queue speaks for. A fault of None passes the request on.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from byov_migrate.config import TargetConfig
from byov_migrate.sandbox import Access, Store, create_app
from byov_migrate.sandbox.store import Session
from byov_migrate.target.http import HttpClient
from byov_migrate.target.rest import RestWire
from tests.faults.exchange import LOSE_COMMIT, Exchange, Fault, Seen, pass_on

_losing: ContextVar[bool] = ContextVar("losing", default=False)


class CommitLost(Exception):
    """Rolls a transaction back after its request was answered."""


class ForgetfulStore(Store):
    """A store that can answer as if it had committed: what a platform does when its database goes away in time."""

    @contextlib.contextmanager
    def session(self, project: str) -> Iterator[Session]:
        """As in Store; with `_losing` set nothing stays."""
        with contextlib.suppress(CommitLost), super().session(project) as session:
            yield session
            if _losing.get():
                raise CommitLost


@dataclass
class FaultyRushDB:
    """One test's view of the running pair: a project and keys of its own.

    `url` for the client under test, `honest_url` to see what is really stored.
    """

    url: str
    honest_url: str
    key: str
    read_key: str
    decide: Callable[[Seen], Fault | None] = lambda _seen: None
    seen: list[Seen] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    _queues: dict[str, deque[Fault | None]] = field(default_factory=lambda: defaultdict(deque))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _honest: HttpClient | None = None

    def on(self, path: str, *faults: Fault | None) -> None:
        """Queue faults, one a request, for requests whose path ends with `path`."""
        with self._lock:
            self._queues[path].extend(faults)

    def clear(self) -> None:
        """Forget queued faults that were not met."""
        with self._lock:
            self._queues.clear()

    def calls(self, path: str) -> list[Seen]:
        """The requests seen so far whose path ends so."""
        return [seen for seen in self.seen if seen.path.endswith(path)]

    def fault_for(self, seen: Seen) -> Fault:
        """Note the request and choose what happens to it."""
        with self._lock:
            self.seen.append(seen)
            for path, queue in self._queues.items():
                if seen.path.endswith(path) and queue:
                    return queue.popleft() or pass_on
        return self.decide(seen) or pass_on

    @property
    def unused(self) -> list[str]:
        """Paths whose queued faults were never met: a test that provokes nothing proves nothing."""
        return [path for path, queue in self._queues.items() if queue]

    def client(self, *, timeout_s: float = 5.0, **target: Any) -> HttpClient:
        """The HTTP client under test."""
        return HttpClient(target_config(self.url, **target), lambda: self.key, timeout_s=timeout_s)

    def wire(self, *, timeout_s: float = 5.0, **target: Any) -> RestWire:
        """The wire under test."""
        return RestWire(self.client(timeout_s=timeout_s, **target))

    def honest_wire(self) -> RestWire:
        """A wire past the proxy; closed with the test."""
        if self._honest is None:
            self._honest = HttpClient(target_config(self.honest_url), lambda: self.key, timeout_s=30)
        return RestWire(self._honest)

    def records(self, label: str) -> list[dict[str, Any]]:
        """All records of a label as they are stored, as property -> value, `__id` included."""
        found, _ = self.honest_wire().find(label, {}, limit=1000)
        return [{**record.properties, "__id": record.record_id} for record in found]

    def keys(self, label: str) -> list[str]:
        """Every stored `byovKey` of a label, sorted; a doubled record shows twice."""
        return sorted(str(row.get("byovKey")) for row in self.records(label))

    def vectors(self) -> int:
        """Vectors of all indexes."""
        wire = self.honest_wire()
        return sum(wire.count_vectors(index) for index in wire.indexes())

    def close(self) -> None:
        """Let hanging requests go."""
        self.closing.set()
        if self._honest is not None:
            self._honest.close()


@dataclass
class FaultyServer:
    """Proxy and sandbox, shared by many tests: starting and stopping them takes longer than most tests."""

    url: str
    honest_url: str
    access: dict[str, Access]
    current: FaultyRushDB | None = None

    @contextlib.contextmanager
    def visitor(self) -> Iterator[FaultyRushDB]:
        """An empty project, whose faults are this visitor's alone."""
        name = uuid.uuid4().hex
        visitor = FaultyRushDB(self.url, self.honest_url, f"key-{name}", f"read-{name}")
        self.access[visitor.key] = Access(name, "write")
        self.access[visitor.read_key] = Access(name, "read")
        self.current = visitor
        try:
            yield visitor
        finally:
            visitor.close()


def target_config(url: str, **target: Any) -> TargetConfig:
    """`[target]` for a server of a test."""
    return TargetConfig.model_validate({"url": url, "api_key": {"env": "KEY"}, **target})


@contextlib.contextmanager
def faulty_server(data: Path) -> Iterator[FaultyServer]:
    """A proxy and its sandbox, each on a socket of its own."""
    access: dict[str, Access] = {}
    with contextlib.closing(ForgetfulStore(data)) as store, _sandbox(store, access) as backend:
        server = FaultyServer("", backend, access)
        with proxy_before(backend, lambda: server.current) as url:
            server.url = url
            yield server


@contextlib.contextmanager
def _sandbox(store: Store, access: Mapping[str, Access]) -> Iterator[str]:
    config = uvicorn.Config(
        _forgetful(create_app(store, access)),
        log_level="critical",
        lifespan="off",
    )
    server = uvicorn.Server(config)
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = server.force_exit = True
        thread.join(10)


def _forgetful(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        _losing.set(any(name == LOSE_COMMIT.encode() for name, _ in scope.get("headers", ())))
        await app(scope, receive, send)

    return wrapped


@contextlib.contextmanager
def proxy_before(backend: str, current: Callable[[], FaultyRushDB | None]) -> Iterator[str]:
    """A proxy on a socket of its own; yields its URL. `current`: whose faults are on."""
    parts = urlsplit(backend)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = 15

        def handle_one_request(self) -> None:
            with contextlib.suppress(OSError):
                super().handle_one_request()
                return
            self.close_connection = True

        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(self.command, self.path, headers, content)
            backend_address = (parts.hostname or "", parts.port or 0)
            if (faulty := current()) is not None:
                faulty.fault_for(seen)(Exchange(seen, self, backend_address, faulty.closing))

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - names of the base class

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - a name of the base class
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
