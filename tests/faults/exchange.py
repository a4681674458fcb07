"""What a misbehaving server can do with one request. Used by `faulty_rushdb`; a test chooses by name."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, TypeAlias

IMPORT = "/records/import/json"
UPSERT = "/vectors/upsert"
SEARCH = "/records/search"
VECTOR_SEARCH = "/ai/search"
STATS = "/stats"
INDEXES = "/ai/indexes"
DELETE = "/records/delete"
LOSE_COMMIT = "x-lose-commit"
"""The header that makes the sandbox behind the proxy answer and keep nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sandbox answered."""

    status: int
    content: bytes
    media_type: str = "application/json"

    @property
    def body(self) -> Any:
        """The decoded content."""
        return json.loads(self.content)


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """The decoded content; None without one."""
        return json.loads(self.content) if self.content else None


@dataclass
class Exchange:
    """One request, and all that can be done with it."""

    seen: Seen
    handler: BaseHTTPRequestHandler
    backend: tuple[str, int]
    closing: threading.Event

    def act(self, *, lose: bool = False) -> Answer:
        """Let the sandbox carry the request out; with `lose` it answers and keeps nothing."""
        headers = {name: self.seen.headers[name] for name in self.seen.headers if name != "host"}
        connection = http.client.HTTPConnection(*self.backend, timeout=30)
        with contextlib.closing(connection):
            extra = {LOSE_COMMIT: "1"} if lose else {}
            connection.request(self.seen.method, self.seen.path, self.seen.content, {**headers, **extra})
            reply = connection.getresponse()
            return Answer(reply.status, reply.read(), reply.headers.get("content-type", ""))

    def answer(self, given: Answer, headers: Mapping[str, str] | None = None, *, cut: int | None = None) -> None:
        """Send an answer; `cut`: only so many bytes of its body, then close."""
        self.handler.send_response(given.status)
        for name, value in {"content-type": given.media_type, **(headers or {})}.items():
            self.handler.send_header(name, value)
        self.handler.send_header("content-length", str(len(given.content)))
        self.handler.end_headers()
        self.handler.wfile.write(given.content[:cut])
        if cut is not None:
            self.handler.close_connection = True

    def close(self) -> None:
        """Close the connection without a word."""
        self.handler.close_connection = True

    def reset(self) -> None:
        """Cut the connection as a crashed machine does."""
        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def hang(self) -> None:
        """Say nothing until the client has gone, or the test ends."""
        self.closing.wait(10)
        self.close()


Fault: TypeAlias = Callable[[Exchange], None]


def pass_on(exchange: Exchange) -> None:
    """No fault at all."""
    exchange.answer(exchange.act())


def act_then_close(exchange: Exchange) -> None:
    """Carried out, and the answer is lost."""
    exchange.act()
    exchange.close()


def act_then_reset(exchange: Exchange) -> None:
    """Carried out, and the connection is cut hard."""
    exchange.act()
    exchange.reset()


def act_then_hang(exchange: Exchange) -> None:
    """Carried out, and nothing comes back."""
    exchange.act()
    exchange.hang()


def act_twice_then_close(exchange: Exchange) -> None:
    """A proxy on the way repeated the request, and the answers are lost."""
    exchange.act()
    act_then_close(exchange)


def close_at_once(exchange: Exchange) -> None:
    """Not carried out; looks to the client exactly as `act_then_close`."""
    exchange.close()


def half_body(exchange: Exchange) -> None:
    """Carried out; the answer ends in the middle of its body."""
    given = exchange.act()
    exchange.answer(given, cut=len(given.content) // 2)


def lose_commit(exchange: Exchange) -> None:
    """2xx with everything in it, and nothing is stored."""
    exchange.answer(exchange.act(lose=True))


def web_page(exchange: Exchange) -> None:
    """200 and HTML, as a proxy's log-in page; not carried out."""
    exchange.answer(Answer(200, b"<html><body>please log in</body></html>", "text/html; charset=utf-8"))


def act_then(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Fault:
    """Carried out, and answered with something else."""

    def fault(exchange: Exchange) -> None:
        exchange.act()
        exchange.answer(_answer(status, body), headers)

    return fault


def refuse(status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Fault:
    """Not carried out, and answered with this."""
    return lambda exchange: exchange.answer(_answer(status, body), headers)


def act_then_change(change: Callable[[Any], Any]) -> Fault:
    """Carried out; the answer's JSON is changed on its way."""

    def fault(exchange: Exchange) -> None:
        given = exchange.act()
        exchange.answer(Answer(given.status, json.dumps(change(given.body)).encode()))

    return fault


def _answer(status: int, body: Any) -> Answer:
    content = {"message": "made up by a test", "statusCode": status} if body is None else body
    return Answer(status, content if isinstance(content, bytes) else json.dumps(content).encode())
