"""The sandbox on a socket: blocking for the command, in a thread for tests."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from byov_migrate.sandbox.app import create_app, keys_for
from byov_migrate.sandbox.store import Store

BANNER = "RushDB sandbox, not RushDB: for trying and testing; speaks what byov-migrate uses of its REST API"
START_S = 10.0


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox; `url` is without `/api/v1`."""

    url: str


def serve(
    listen: str,
    data: Path,
    api_key: str,
    ready: Callable[[str], None] | None = None,
    *,
    read_key: str | None = None,
    other_key: str | None = None,
) -> None:
    """Answer on `listen` ("HOST:PORT", port 0 for a free one) until SIGINT or SIGTERM; everything is kept in `data`.

    ready: called once with the start-up line, when connections are accepted.
    Raises ValueError for a `listen` that is none, OSError when the port is taken.
    """
    with closing(Store(data)) as store, closing(_listening(*_address(listen))) as listener:
        app = create_app(store, keys_for(api_key, read_key=read_key, other_key=other_key))
        if ready is not None:
            ready(f"{BANNER}\n{_url(listener)}")
        server = _Server(_config(app))
        with _stopped_by_signals(server):
            server.run(sockets=[listener])


@contextmanager
def running(
    data: Path,
    api_key: str,
    port: int = 0,
    *,
    read_key: str | None = None,
    other_key: str | None = None,
) -> Iterator[Sandbox]:
    """A sandbox in a thread of this process, on the loopback, for the length of a `with` block."""
    with closing(Store(data)) as store, closing(_listening("127.0.0.1", port)) as listener:
        server = _Server(_config(create_app(store, keys_for(api_key, read_key=read_key, other_key=other_key))))
        thread = threading.Thread(target=server.run, args=([listener],), name="rushdb-sandbox", daemon=True)
        thread.start()
        try:
            _await_start(server)
            yield Sandbox(_url(listener))
        finally:
            server.should_exit = True
            thread.join(START_S)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn would raise them again afterwards, before the store is closed."""
        yield


@contextmanager
def _stopped_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """The first SIGINT or SIGTERM lets running requests end, the second does not wait for them."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )


def _address(listen: str) -> tuple[str, int]:
    host, separator, port = listen.rpartition(":")
    if not separator or not port.isdigit():
        raise ValueError(f"{listen!r} is no HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # the protocol must be named: asyncio switches Nagle off only then, and every answer would take 40 ms more
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _await_start(server: uvicorn.Server) -> None:
    deadline = time.monotonic() + START_S
    while not server.started:
        if time.monotonic() > deadline:
            raise TimeoutError("the sandbox did not start")
        time.sleep(0.005)
