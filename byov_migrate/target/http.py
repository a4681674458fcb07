"""HTTP to RushDB. The only module that knows the client library: JSON in, JSON out, errors of ours."""

from __future__ import annotations

import email.utils
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson

from byov_migrate.config import TargetConfig
from byov_migrate.errors import Ambiguous, MigrationError, PersonNeeded, Retriable
from byov_migrate.target import faults

CONNECT_TIMEOUT_S = 10.0
PART_BYTES = 256 * 1024


class HttpClient:
    """Requests to one base URL, from any number of threads.

    Proxies and certificates come from the configuration alone, never from the environment, and redirects are not
    followed: both could hand the key to somebody else. The key is read when the client is made and again whenever it
    is refused, so that a rotated key needs no restart. `vouch_for` is asked before a new key is used: a key of another
    project would be accepted for everything, and rows would go there.
    """

    def __init__(self, config: TargetConfig, read_key: Callable[[], str], *, timeout_s: float) -> None:
        self._read_key = read_key
        self._key = read_key()
        self._lock = threading.Lock()
        self._rotating = threading.Lock()
        self.vouch_for: Callable[[Callable[[str], Any]], None] = lambda _get: None
        self._host = httpx.URL(config.url).host
        self.key_has_worked = False
        self.bytes_sent = 0
        self.requests_sent = 0
        self._client = httpx.Client(
            base_url=config.base_url,
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S, pool=timeout_s),
            trust_env=False,
            follow_redirects=False,
            proxy=config.proxy,
            verify=_tls(config),
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def call(
        self, method: str, path: str, body: Any = None, *, reads: bool = False, may_be_absent: bool = False
    ) -> Any:
        """The decoded answer, with its envelope. `reads`: the request changes nothing, so asking again is safe.

        may_be_absent: None when RushDB itself says that what the path names does not exist.
        """
        try:
            return self._call_with_key(method, path, body, may_be_absent=may_be_absent)
        except Ambiguous as error:
            if reads:
                raise Retriable(str(error)) from error
            raise

    def _call_with_key(self, method: str, path: str, body: Any, *, may_be_absent: bool) -> Any:
        key = self._key
        response = self._send(method, path, body, key)
        if response.status_code in (401, 403) and (fresh := self._another_key(key)) is not None:
            response = self._send(method, path, body, fresh)
        if may_be_absent and faults.is_absent(response):
            return None
        return self._judge(response)

    def _another_key(self, refused: str) -> str | None:
        """The key that has taken the place of a refused one, vouched for once by whichever thread comes first."""
        with self._rotating:
            if self._key == refused and (fresh := self._read_key()) != refused:
                self.vouch_for(lambda path: self._get_as(fresh, path))
                self._key, self.key_has_worked = fresh, False
            return self._key if self._key != refused else None

    def _get_as(self, key: str, path: str) -> Any:
        """The decoded answer to another key, with its envelope. Raise Retriable when there is none."""
        try:
            response = self._send("GET", path, None, key)
            if problem := faults.from_response(response, key_has_worked=False):
                raise problem
            return _decoded(response, key_has_worked=False)
        except Ambiguous as error:
            raise Retriable(str(error)) from error

    def _send(self, method: str, path: str, body: Any, key: str) -> httpx.Response:
        content = b"" if body is None else orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "accept": "application/json"}
        if content:
            headers["content-length"] = str(len(content))  # else the parts would be sent as chunks
        with self._lock:
            self.requests_sent += 1
            self.bytes_sent += len(content)
        try:
            return self._client.request(method, path, content=_parts(content) if content else None, headers=headers)
        except httpx.HTTPError as error:
            raise faults.from_exception(error, self._host) from error

    def _judge(self, response: httpx.Response) -> Any:
        problem = faults.from_response(response, key_has_worked=self.key_has_worked)
        if problem is not None:
            raise problem
        answer = _decoded(response, key_has_worked=self.key_has_worked)
        self.key_has_worked = True
        return answer


def clock_offset_s(config: TargetConfig, clock: Callable[[], float]) -> float | None:
    """How far the target's clock is ahead of `clock`, by the Date of an answer that needs no key, cut to the second.

    None where that cannot be told.
    """
    try:
        with httpx.Client(
            trust_env=False, verify=_tls(config), proxy=config.proxy, timeout=CONNECT_TIMEOUT_S
        ) as client:
            before = clock()
            told = client.get(f"{config.base_url}/api/v1/settings").headers.get("date", "")
            between = (before + clock()) / 2
        return email.utils.parsedate_to_datetime(told).timestamp() + 0.5 - between
    except (httpx.HTTPError, ValueError, PersonNeeded):
        return None


def _parts(content: bytes) -> Iterator[bytes]:
    """A body in parts, so that no request holds it.

    An answer of httpx and its request lie in a cycle, so that megabytes would wait for the garbage collector.
    """
    for start in range(0, len(content), PART_BYTES):
        yield content[start : start + PART_BYTES]


def _tls(config: TargetConfig) -> ssl.SSLContext | bool:
    if config.ca_file is None:
        return config.tls != "insecure"
    try:
        return ssl.create_default_context(cafile=str(config.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise PersonNeeded(f"[target] ca_file {config.ca_file.name} cannot be used: {type(error).__name__}") from error


def _decoded(response: httpx.Response, *, key_has_worked: bool) -> Any:
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise _unreadable(response, key_has_worked=key_has_worked) from error
    if not isinstance(answer, dict):
        raise _unreadable(response, key_has_worked=key_has_worked)
    return answer


def _unreadable(response: httpx.Response, *, key_has_worked: bool) -> MigrationError:
    kind = response.headers.get("content-type", "no content type").partition(";")[0]
    path = response.request.url.path
    is_page = response.request.method == "GET" and kind == "text/html"
    if is_page and not key_has_worked:  # a dashboard serves its page for unknown paths
        return PersonNeeded(f"the target answers {path} with a web page; [target] url is not the API's address")
    return Ambiguous(f"target answered {path} with something that is not the expected JSON ({kind})")
