"""A TCP relay that keeps every byte a client sends."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CHUNK = 65536


@dataclass
class Recording:
    """What clients sent, connection by connection. `url` is where they are to connect."""

    url: str
    sent: list[bytearray] = field(default_factory=list)

    @property
    def everything(self) -> bytes:
        """All of it, one connection after the other."""
        return b"\n".join(bytes(part) for part in self.sent)


@contextlib.contextmanager
def recording(target: str) -> Iterator[Recording]:
    """Relay connections to `target` (http://HOST:PORT) and record what goes there."""
    parts = urlsplit(target)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        record = Recording(f"http://127.0.0.1:{listener.getsockname()[1]}")
        accepting = threading.Thread(target=_accept, args=(listener, address, record))
        accepting.start()
        yield record
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()


def _accept(listener: socket.socket, address: tuple[str, int], record: Recording) -> None:
    relays: list[threading.Thread] = []
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            record.sent.append(bytearray())
            relays.append(threading.Thread(target=_relay, args=(client, address, record.sent[-1])))
            relays[-1].start()
    for relay in relays:
        relay.join()


def _relay(client: socket.socket, address: tuple[str, int], kept: bytearray) -> None:
    with client, socket.create_connection(address) as server:
        for end in (client, server):  # a head and a body that wait for each other cost 40 ms a request
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=_pump, args=(server, client, bytearray()))
        back.start()
        _pump(client, server, kept)
        back.join()


def _pump(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            kept += data
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
