"""The HTTP client against real sockets: keys, proxies, redirects, certificates, and every way not to answer."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import trustme

from byov_migrate.errors import (
    Ambiguous,
    ConfigurationError,
    CredentialsRefused,
    MigrationError,
    PersonNeeded,
    Retriable,
)
from byov_migrate.target.http import PART_BYTES, HttpClient
from tests.faults.exchange import (
    Fault,
    act_then,
    act_then_close,
    act_then_hang,
    act_then_reset,
    half_body,
    refuse,
    web_page,
)
from tests.faults.faulty_rushdb import FaultyRushDB, target_config

SETTINGS = "/api/v1/settings"
FIND = "/api/v1/records/search"


def client_to(url: str, key: str = "the-key", **target: object) -> HttpClient:
    """A client with a fixed key and short timeouts."""
    return HttpClient(target_config(url, **target), lambda: key, timeout_s=0.5)


@pytest.mark.parametrize("fault", [act_then_close, act_then_reset, act_then_hang, half_body, act_then(502)])
def test_a_lost_answer_is_ambiguous_to_a_write_and_retriable_to_a_read(faulty: FaultyRushDB, fault: Fault) -> None:
    """A question that may have been answered can be asked again; a create can not."""
    faulty.on(FIND, fault, fault)
    with contextlib.closing(faulty.client(timeout_s=0.3)) as client:
        with pytest.raises(Ambiguous):
            client.call("POST", FIND, {"labels": ["Job"]})
        with pytest.raises(Retriable):
            client.call("POST", FIND, {"labels": ["Job"]}, reads=True)


def test_nobody_listens() -> None:
    """Nothing was sent, so the same request may be sent again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with contextlib.closing(client_to(url)) as client, pytest.raises(Retriable):
            client.call("POST", FIND, {})


def test_a_host_that_does_not_exist() -> None:
    """A typing mistake; the reserved domain never resolves."""
    with contextlib.closing(client_to("https://rushdb.invalid")) as client, pytest.raises(PersonNeeded) as caught:
        client.call("GET", SETTINGS)
    assert "rushdb.invalid" in str(caught.value)


GARBAGE = [b"HTTP/1.1 999999 x\r\n\r\n", b"garbage\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"]


@pytest.mark.parametrize("answer", GARBAGE, ids=range(len(GARBAGE)))
def test_an_answer_that_is_no_http_proves_nothing(answer: bytes) -> None:
    """Something else listens on the port, or the server died in the middle of a word."""
    with raw_server(answer) as url, contextlib.closing(client_to(url)) as client, pytest.raises(Ambiguous):
        client.call("POST", FIND, {})


@contextlib.contextmanager
def raw_server(answer: bytes) -> Iterator[str]:
    """A socket that reads a request, sends these bytes and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_a_web_page_at_the_first_question_means_a_wrong_address(faulty: FaultyRushDB) -> None:
    """A dashboard answers unknown paths with its page."""
    faulty.on(SETTINGS, web_page)
    with contextlib.closing(faulty.client()) as client, pytest.raises(PersonNeeded, match="url"):
        client.call("GET", SETTINGS, reads=True)


def test_a_web_page_after_the_key_has_worked_passes(faulty: FaultyRushDB) -> None:
    """A maintenance page in front of the server must not wake anybody."""
    faulty.on(SETTINGS, None, web_page)
    with contextlib.closing(faulty.client()) as client:
        client.call("GET", SETTINGS, reads=True)
        with pytest.raises(Retriable):
            client.call("GET", SETTINGS, reads=True)


@pytest.mark.parametrize("worked_before", [True, False])
@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_was_rotated_is_read_again(faulty: FaultyRushDB, status: int, *, worked_before: bool) -> None:
    """A token that lives for an hour, in a migration that takes three: no restart, no wait."""
    keys = ["old", faulty.key]
    client = HttpClient(target_config(faulty.url), lambda: keys.pop(0), timeout_s=5)
    with contextlib.closing(client):
        client.key_has_worked = worked_before
        faulty.on(FIND, refuse(status))
        assert client.call("POST", FIND, {"labels": ["Job"]})["total"] == 0
    assert [seen.headers["authorization"] for seen in faulty.calls(FIND)] == ["Bearer old", f"Bearer {faulty.key}"]


def test_a_wrong_key_is_refused_at_the_first_question(faulty: FaultyRushDB) -> None:
    """Asked once, not for 20 minutes."""
    with contextlib.closing(client_to(faulty.url, "wrong")) as client, pytest.raises(CredentialsRefused) as caught:
        client.call("GET", "/api/v1/tokens/current", reads=True)
    assert len(faulty.seen) == 1
    assert "wrong" not in str(caught.value).replace("may be wrong", "")


def test_a_new_key_that_is_wrong_is_refused_too(faulty: FaultyRushDB) -> None:
    """That the old one has worked says nothing of it."""
    keys = [faulty.key, "wrong"]
    with contextlib.closing(HttpClient(target_config(faulty.url), lambda: keys.pop(0), timeout_s=5)) as client:
        client.call("POST", FIND, {"labels": ["Job"]})
        faulty.on(FIND, refuse(403))
        with pytest.raises(CredentialsRefused):
            client.call("POST", FIND, {"labels": ["Job"]})


def test_a_403_after_success_with_the_same_key_passes(faulty: FaultyRushDB) -> None:
    """RushDB's limiter and a restart of its user store look like this."""
    faulty.on(FIND, None, refuse(403))
    with contextlib.closing(faulty.client()) as client:
        client.call("POST", FIND, {"labels": ["Job"]})
        with pytest.raises(Retriable):
            client.call("POST", FIND, {"labels": ["Job"]})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(faulty: FaultyRushDB, status: int) -> None:
    """The key would be handed to whoever the answer names."""
    with recording_server() as (elsewhere, requests):
        faulty.on(FIND, refuse(status, headers={"location": elsewhere + FIND}))
        with contextlib.closing(faulty.client()) as client, pytest.raises(PersonNeeded, match="redirect"):
            client.call("POST", FIND, {})
    assert requests == []


def test_proxies_of_the_environment_are_ignored(faulty: FaultyRushDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that somebody set for another program must not route the rows through a stranger."""
    with recording_server() as (proxy, requests):
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        monkeypatch.setenv("SSL_CERT_FILE", "/absent/ca.pem")
        with contextlib.closing(faulty.client()) as client:
            client.call("GET", SETTINGS)
    assert requests == []


def test_a_proxy_that_is_configured_is_used(faulty: FaultyRushDB) -> None:
    """And nothing goes past it."""
    with recording_server() as (proxy, requests), contextlib.closing(faulty.client(proxy=proxy)) as client:
        client.call("GET", SETTINGS)
    assert requests == [faulty.url + SETTINGS]
    assert faulty.seen == []


def test_a_large_body_is_sent_whole_and_under_its_length(faulty: FaultyRushDB) -> None:
    """It goes out in parts; not every proxy takes chunks of unknown number."""
    keys = [f"key {number}" for number in range(PART_BYTES // 8)]
    with contextlib.closing(faulty.client()) as client:
        client.call("POST", FIND, {"labels": ["Job"], "where": {"byovKey": {"$in": keys}}})
    (seen,) = faulty.calls(FIND)
    assert len(seen.content) > PART_BYTES
    assert seen.body["where"]["byovKey"]["$in"] == keys
    assert seen.headers["content-length"] == str(len(seen.content))
    assert "transfer-encoding" not in seen.headers


def test_a_body_is_gone_with_its_answer() -> None:
    """Vectors are megabytes a request; what only the garbage collector frees is memory that a run has not got."""
    body = {"text": "x" * 2**22}
    with recording_server() as (url, requests), contextlib.closing(client_to(url)) as client:
        client.call("POST", FIND, body)
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            for _ in range(3):
                client.call("POST", FIND, body)
            left, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
    assert len(requests) == 4
    assert left < 2**22


@contextlib.contextmanager
def recording_server(context: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server that answers everything with an empty object, and what it was asked for."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_CONNECT = do_GET  # noqa: N815 - names of the base class

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - a name of the base class
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority of a company."""
    return trustme.CA()


@contextlib.contextmanager
def tls_server(authority: trustme.CA, name: str) -> Iterator[str]:
    """A server with a certificate for `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    with recording_server(context) as (url, _):
        yield url


def test_a_certificate_nobody_knows_is_refused_by_its_reason(authority: trustme.CA) -> None:
    """With the setting that would mend it."""
    with (
        tls_server(authority, "127.0.0.1") as url,
        contextlib.closing(client_to(url)) as client,
        pytest.raises(PersonNeeded, match="ca_file"),
    ):
        client.call("GET", SETTINGS)


def test_a_certificate_of_the_configured_authority_is_accepted(authority: trustme.CA, tmp_path: Path) -> None:
    """A company's own."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with (
        tls_server(authority, "127.0.0.1") as url,
        contextlib.closing(client_to(url, ca_file=tmp_path / "ca.pem")) as client,
    ):
        assert client.call("GET", SETTINGS) == {}


def test_a_certificate_for_another_name_is_refused(authority: trustme.CA, tmp_path: Path) -> None:
    """The right authority is not enough."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with (
        tls_server(authority, "rushdb.example") as url,
        contextlib.closing(client_to(url, ca_file=tmp_path / "ca.pem")) as client,
        pytest.raises(PersonNeeded),
    ):
        client.call("GET", SETTINGS)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_needs_a_person(tmp_path: Path, content: str | None) -> None:
    """By its name, before anything is sent."""
    path = tmp_path / "corp.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises((PersonNeeded, ConfigurationError), match=r"corp\.pem"):
        client_to("https://rushdb.example", ca_file=path)


def test_bodies_and_requests_are_counted(faulty: FaultyRushDB) -> None:
    """Reports say how much left; float32 goes out exactly and as short as it can be."""
    with contextlib.closing(faulty.client()) as client:
        client.call("POST", FIND, {"labels": ["Job"], "where": {}, "limit": 1})
        client.call("GET", SETTINGS)
        assert client.requests_sent == 2
        assert client.bytes_sent == len(faulty.calls(FIND)[0].content)
        with pytest.raises(MigrationError):
            client.call("POST", "/api/v1/nothing", {"v": np.asarray([0.1, 1 / 3], dtype=np.float32)})
    assert faulty.seen[-1].content == b'{"v":[0.1,0.33333334]}'


def test_the_key_is_in_no_repr(faulty: FaultyRushDB) -> None:
    """Nor in any error."""
    with contextlib.closing(faulty.client()) as client:
        faulty.on(FIND, refuse(500))
        with pytest.raises(Ambiguous) as caught:
            client.call("POST", FIND, {})
        assert faulty.key not in f"{client!r}{caught.value!r}{caught.value}"
