"""A network of its own for a client, with two servers in it and a witness for everything the client sends.

Two network namespaces are joined by a cable. All addresses lead over it, so that a packet to anywhere is really sent
and seen; at the other end only the two servers answer. Everything goes when the test's process goes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.acceptance.recorder import Recording, _accept

DATABASE, RUSHDB = ("10.77.0.1", 5432), ("10.77.0.2", 3999)
CLIENT, GATEWAY_6, CLIENT_6 = "10.77.0.9", "fd77::1", "fd77::9"
NEW_NETWORK = 0x40000000  # setns(2)
ALL_PROTOCOLS, IPV4, IPV6 = 0x0003, 0x0800, 0x86DD
OUTGOING = 4
PROTOCOLS = {6: "tcp", 17: "udp"}
KERNELS_OWN = frozenset({0, 1, 58})  # ICMP, ICMPv6 and its group reports: answers and searches for the gateway
PACKET_LEVEL, STATISTICS = 263, 6  # getsockopt of packet(7)
BUFFER_BYTES = 2**26
HEADERS_BYTES = 128

Endpoint = tuple[str, str, int]
"""Protocol, address, port."""


def missing_means() -> str:
    """Why there can be no such network here, empty when there can."""
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    try:
        subprocess.run(["unshare", "--net", "ip", "link", "show"], check=True, capture_output=True)
        subprocess.run(["nsenter", "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces here: {error}"
    return ""


class Witness:
    """Reads every packet that leaves a namespace, its own loopback included."""

    def __init__(self, namespace: int) -> None:
        self.sent: set[Endpoint] = set()
        self._socket = socket_in(namespace, _all_packets)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="witness", daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """End it, once what is waiting was read; how many packets it missed."""
        self._is_over.set()
        self._thread.join()
        with self._socket:
            counted = self._socket.getsockopt(PACKET_LEVEL, STATISTICS, 8)
        return int(struct.unpack("II", counted)[1])

    def _watch(self) -> None:
        while True:
            try:
                packet, (_interface, protocol, kind, *_rest) = self._socket.recvfrom(HEADERS_BYTES)
            except TimeoutError:
                if self._is_over.is_set():
                    return
                continue
            if kind == OUTGOING:
                self.sent |= {*endpoints(protocol, packet)}


def _all_packets() -> socket.socket:
    witness = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL_PROTOCOLS))
    witness.setsockopt(socket.SOL_SOCKET, 33, BUFFER_BYTES)  # SO_RCVBUFFORCE: beyond the system's limit
    witness.settimeout(0.5)
    return witness


def endpoints(protocol: int, packet: bytes) -> Iterator[Endpoint]:
    """Where an IP packet goes; nothing for what the kernel itself sends."""
    if protocol == IPV4:
        carried, start = packet[9], 4 * (packet[0] & 15)
        address = socket.inet_ntop(socket.AF_INET, packet[16:20])
    elif protocol == IPV6:
        carried, start = packet[6], 40
        address = socket.inet_ntop(socket.AF_INET6, packet[24:40])
    else:
        return
    if carried not in KERNELS_OWN:
        port = struct.unpack_from("!H", packet, start + 2)[0] if carried in PROTOCOLS else 0
        yield PROTOCOLS.get(carried, str(carried)), address, port


@dataclass(frozen=True)
class Lab:
    """The client's namespace, by the process that holds it, and the witness in it."""

    holder: int
    witness: Witness

    def run(
        self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """A command with the client's network and no other."""
        return subprocess.run(
            ["nsenter", f"--net=/proc/{self.holder}/ns/net", *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )


@contextlib.contextmanager
def lab(database: tuple[str, int], rushdb: tuple[str, int]) -> Iterator[Lab]:
    """The network; behind the two addresses in it stand these servers. `witness.stop()` is left to the test."""
    with namespace() as client, namespace() as servers:
        _join(client, servers)
        with relayed(servers, DATABASE, database), relayed(servers, RUSHDB, rushdb):
            yield Lab(client, Witness(client))


@contextlib.contextmanager
def namespace() -> Iterator[int]:
    """A network namespace that lives as long as this block; the number of the process that holds it."""
    with subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"ready\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == b"ready\n"
        yield holder.pid
        holder.stdin.close()


def _join(client: int, servers: int) -> None:
    _ip("link", "add", "cable", "netns", str(client), "type", "veth", "peer", "name", "cable", "netns", str(servers))
    for address in (f"{DATABASE[0]}/24", f"{RUSHDB[0]}/24"):
        _ip("address", "add", address, "dev", "cable", inside=servers)
    _ip("address", "add", f"{CLIENT}/24", "dev", "cable", inside=client)
    for holder in (client, servers):
        _ip("link", "set", "cable", "up", inside=holder)
        _ip("link", "set", "lo", "up", inside=holder)
    _ip("route", "add", "default", "via", DATABASE[0], inside=client)
    if Path("/proc/sys/net/ipv6").exists():
        _ip("address", "add", f"{GATEWAY_6}/64", "dev", "cable", "nodad", inside=servers)
        _ip("address", "add", f"{CLIENT_6}/64", "dev", "cable", "nodad", inside=client)
        _ip("-6", "route", "add", "default", "via", GATEWAY_6, "dev", "cable", inside=client)


def _ip(*arguments: str, inside: int | None = None) -> None:
    entering = ["nsenter", f"--net=/proc/{inside}/ns/net"] if inside is not None else []
    subprocess.run([*entering, "ip", *arguments], check=True, capture_output=True)


def socket_in(holder: int, make: Callable[[], socket.socket]) -> socket.socket:
    """A socket made inside a namespace; it stays there whoever uses it."""
    made: list[socket.socket] = []

    def enter_and_make() -> None:
        system = ctypes.CDLL(None, use_errno=True)
        with Path(f"/proc/{holder}/ns/net").open("rb") as place:
            if system.setns(place.fileno(), NEW_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        made.append(make())

    # setns moves one thread, and this one ends with its task.
    thread = threading.Thread(target=enter_and_make)
    thread.start()
    thread.join()
    return made[0]


@contextlib.contextmanager
def relayed(holder: int, place: tuple[str, int], server: tuple[str, int]) -> Iterator[None]:
    """Connections to `place` in a namespace are passed on to a server of this machine."""
    with socket_in(holder, lambda: socket.create_server(place)) as listener:
        accepting = threading.Thread(target=_accept, args=(listener, server, Recording("")))
        accepting.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
