"""Walls around a process that is about to read a file of unknown origin.

Run as a script, with one JSON argument and the scratch folder as working directory. Only the standard library is
imported before the walls stand: numpy starts threads, and a thread that is there already keeps its network.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

NEW_USERS, NEW_NETWORK = 0x10000000, 0x40000000  # flags of unshare(2)
DIES_WITH_PARENT, NO_NEW_PRIVILEGES = 1, 38  # options of prctl(2)
NETWORK_EVENTS = frozenset(
    f"socket.{name}"
    for name in ("bind", "connect", "getaddrinfo", "gethostbyaddr", "gethostbyname", "getnameinfo", "sendmsg", "sendto")
)
PROGRAM_EVENTS = frozenset(
    ["os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn", "subprocess.Popen"]
)
CHANGED_PATHS = {
    **dict.fromkeys(
        [f"os.{name}" for name in ("chmod", "chown", "mkdir", "remove", "rmdir", "setxattr", "truncate")], (0,)
    ),
    "os.link": (0, 1),
    "os.rename": (0, 1),
    "os.symlink": (1,),
}
"""Event -> which of its arguments are paths that it changes."""
WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def leave_network() -> bool:
    """Move into a network namespace of our own, in which even the loopback is down; False where that is not allowed."""
    if not sys.platform.startswith("linux"):
        return False
    system = ctypes.CDLL(None, use_errno=True)
    system.prctl(DIES_WITH_PARENT, 9, 0, 0, 0)
    system.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    # Whoever is not root may only do it together with a user namespace.
    return any(system.unshare(flags) == 0 for flags in (NEW_NETWORK, NEW_NETWORK | NEW_USERS))


def limit_resources(memory_bytes: int, file_bytes: int, cpu_s: int) -> None:
    """No core dump, and no more than this; a system that cannot limit one of them leaves it out."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_DATA: memory_bytes,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_CPU: cpu_s,
    }
    for kind, limit in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (limit, limit))


def forbid(scratch: Path) -> None:
    """From now on Python refuses connections, names to look up, other programs, and changes outside `scratch`.

    A hook cannot be taken away again. What libraries do in C passes it by; the namespace and the limits hold that.
    """
    inside = os.path.realpath(scratch)

    def judge(event: str, arguments: tuple[Any, ...]) -> None:
        if event in NETWORK_EVENTS or event in PROGRAM_EVENTS:
            raise PermissionError(f"{event} is not allowed while a model is converted")
        changed = (0,) if event == "open" and _is_writing(arguments) else CHANGED_PATHS.get(event, ())
        if not all(_is_inside(arguments[place], inside) for place in changed):
            raise PermissionError(f"{event} is not allowed outside the scratch folder while a model is converted")

    sys.addaudithook(judge)


def _is_writing(arguments: tuple[Any, ...]) -> bool:
    mode, flags = arguments[1], arguments[2]
    return bool(isinstance(mode, str) and set(mode) & set("wax+")) or bool(
        isinstance(flags, int) and flags & WRITING_FLAGS
    )


def _is_inside(path: Any, inside: str) -> bool:
    """Whether it is the folder, lies in it, or is a file that is open already."""
    if isinstance(path, int):
        return True
    real = os.path.realpath(os.fsdecode(path))
    return real in (os.devnull, inside) or real.startswith(inside + os.sep)


def main() -> None:
    """Raise the walls, then do the job."""
    task = json.loads(sys.argv[1])
    has_namespace = leave_network()
    limit_resources(task["memory_bytes"], task["file_bytes"], task["cpu_s"])
    forbid(Path.cwd())
    from byov_migrate.embed.convert_jobs import run

    reply = {**run(task["job"], task["arguments"]), "has_namespace": has_namespace}
    sys.stdout.write("\n" + json.dumps(reply))


if __name__ == "__main__":
    main()
