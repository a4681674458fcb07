"""A PostgreSQL of our own for as long as somebody uses it: started, shared, taken over after a kill, stopped."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from byov_migrate.errors import PersonNeeded
from byov_migrate.jobs.demo.postgres_files import Cluster, make_home, open_cluster

START_ATTEMPTS = 5
PAUSE_S = 0.3  # the workers of a killed server need a moment to notice
READY_TIMEOUT_S = 60.0  # recovery after a kill reads the log again
LOGIN_TIMEOUT_S = 10
POLL_S = 0.01
_STOPPING = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
"""Fast shutdown, immediate shutdown, the end; each with the seconds it is given."""


@dataclass(frozen=True, slots=True)
class _Server:
    pid: int
    port: int


@contextmanager
def running_postgres(data: Path, *, port: int | None = None) -> Iterator[str]:
    """A server on 127.0.0.1 over the folder `data`; yields its dsn (user and database postgres, password inside).

    The folder is filled at first use. A server that still runs there is used, whoever started it, and keeps its port;
    the last user stops it. `port` is for a server that has to be started; None takes a free one.
    Works as root (the server runs as nobody) and as anyone else.

    Raise PersonNeeded when there are no binaries, when the folder cannot be used, or when the server does not start.
    """
    home = data.resolve()
    with ExitStack() as stack:
        with _failures_named(home):
            make_home(home)
            users = stack.enter_context(_locked(home / "users.lock", fcntl.LOCK_SH))
            with _locked(home / "start.lock", fcntl.LOCK_EX):
                cluster = open_cluster(home)
                server = _take_over(cluster) or _start(cluster, port)
                stack.callback(_leave, users, cluster, server)
        yield _dsn(cluster, server.port)


@contextmanager
def _failures_named(home: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, subprocess.SubprocessError, psycopg.Error) as error:
        raise PersonNeeded(
            f"the demo's PostgreSQL cannot be run in {home}: {type(error).__name__}: {error}; "
            "remove that folder (it holds generated data only) or choose another one"
        ) from error


@contextmanager
def _locked(file: Path, operation: int) -> Iterator[int]:
    """Hold a lock that the kernel drops with us, even after kill -9; yields the descriptor."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, operation)
        yield descriptor
    finally:
        os.close(descriptor)


def _dsn(cluster: Cluster, port: int) -> str:
    return f"postgresql://postgres:{cluster.password}@127.0.0.1:{port}/postgres"


def _take_over(cluster: Cluster) -> _Server | None:
    """The server that runs on this cluster already, when it lets us in; None when there is none."""
    pid = _recorded_pid(cluster)
    if pid is None or not _serves(pid, cluster):
        # Its process number may belong to another program of ours by now, which PostgreSQL would take for a server.
        _pid_file(cluster).unlink(missing_ok=True)
        return None
    _wait_until(lambda: _ready_port(cluster, pid) is not None or not _serves(pid, cluster), READY_TIMEOUT_S)
    port = _ready_port(cluster, pid)
    if port is None:
        return None
    psycopg.connect(_dsn(cluster, port), sslmode="disable", connect_timeout=LOGIN_TIMEOUT_S).close()
    return _Server(pid, port)


def _start(cluster: Cluster, port: int | None) -> _Server:
    for attempt in range(START_ATTEMPTS):
        time.sleep(PAUSE_S if attempt else 0)
        server = _attempt(cluster, port or _free_port())
        if server is not None:
            return server
    said = cluster.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-6:]
    raise PersonNeeded("\n  ".join([f"PostgreSQL did not start on {cluster.folder}; it said in {cluster.log}:", *said]))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def _attempt(cluster: Cluster, port: int) -> _Server | None:
    """A server that answers, or None when it ended. Whatever interrupts us stops it again."""
    process = _launch(cluster, port)
    try:
        _wait_until(
            lambda: _ready_port(cluster, process.pid) is not None or process.poll() is not None, READY_TIMEOUT_S
        )
        if _ready_port(cluster, process.pid) is not None:
            return _Server(process.pid, port)
    except BaseException:
        _stop(cluster, process.pid)
        raise
    _stop(cluster, process.pid)
    return None


def _launch(cluster: Cluster, port: int) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with cluster.log.open("wb") as log:
        process = subprocess.Popen(
            [str(cluster.binaries / "postgres"), "-D", str(cluster.folder), *options],
            stdout=log,
            stderr=log,
            **cluster.account.options(),
        )
    # It may outlive us when somebody else uses it: without this it would stay a zombie of a long-lived process.
    threading.Thread(target=process.wait, daemon=True).start()
    return process


def _leave(users: int, cluster: Cluster, server: _Server) -> None:
    """Stop the server if nobody else uses it. Whoever comes meanwhile waits for the lock, then starts it again."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    _stop(cluster, server.pid)


def _stop(cluster: Cluster, pid: int) -> None:
    for number, patience_s in _STOPPING:
        if not _serves(pid, cluster):
            return
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        _wait_until(lambda: not _serves(pid, cluster), patience_s)


def _wait_until(is_so: Callable[[], bool], patience_s: float) -> None:
    end_monotonic = time.monotonic() + patience_s
    while not is_so() and time.monotonic() < end_monotonic:
        time.sleep(POLL_S)


def _pid_file(cluster: Cluster) -> Path:
    return cluster.folder / "postmaster.pid"


def _pid_file_lines(cluster: Cluster) -> list[str]:
    try:
        return _pid_file(cluster).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _recorded_pid(cluster: Cluster) -> int | None:
    lines = _pid_file_lines(cluster)
    return int(lines[0]) if lines and lines[0].isdecimal() else None


def _ready_port(cluster: Cluster, pid: int) -> int | None:
    """The port on which this very server takes connections; None before that."""
    lines = _pid_file_lines(cluster)
    is_ready = len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
    return int(lines[3]) if is_ready else None


def _serves(pid: int, cluster: Cluster) -> bool:
    """Whether process `pid` is a server on this cluster; false for a zombie and for a number used again."""
    return os.fsencode(cluster.folder) in _arguments(pid)


def _arguments(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return [] if Path("/proc/self").exists() else _listed_arguments(pid)


def _listed_arguments(pid: int) -> list[bytes]:
    """As `_arguments`, where there is no /proc."""
    command = ["ps", "-ww", "-o", "args=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, check=False).stdout.split()
