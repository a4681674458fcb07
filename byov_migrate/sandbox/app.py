"""The sandbox as an ASGI application: keys, bodies and errors around the routes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute

from byov_migrate.sandbox.calls import Call
from byov_migrate.sandbox.replies import Refusal, Reply, database_failure, empty_failure, invalid_body, refused
from byov_migrate.sandbox.routes import ROUTES, Route
from byov_migrate.sandbox.store import Store

MAIN_PROJECT = "main"
OTHER_PROJECT = "other"
NO_BODY = ("GET", "DELETE")


@dataclass(frozen=True, slots=True)
class Access:
    """What a key opens."""

    project: str
    level: Literal["write", "read"]


Keys = Mapping[str, Access]


def keys_for(api_key: str, *, read_key: str | None = None, other_key: str | None = None) -> Keys:
    """A key for the main project, and if wanted one that only reads it and one for a second project."""
    keys = {api_key: Access(MAIN_PROJECT, "write")}
    if read_key:
        keys[read_key] = Access(MAIN_PROJECT, "read")
    if other_key:
        keys[other_key] = Access(OTHER_PROJECT, "write")
    return keys


def create_app(store: Store, keys: Keys) -> Starlette:
    """The application over a store; the store stays open when it ends."""
    return Starlette(
        routes=[StarletteRoute(route.path, _endpoint(route, store, keys), methods=[route.method]) for route in ROUTES],
        exception_handlers={404: _no_route, 405: _no_route},
    )


def _endpoint(route: Route, store: Store, keys: Keys) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        raw = await request.body()
        reply = await run_in_threadpool(_reply, route, store, keys, request, raw)
        return Response(reply.content, reply.status, media_type=reply.media_type)

    return answer


def _reply(route: Route, store: Store, keys: Keys, request: Request, raw: bytes) -> Reply:
    if isinstance(route.handler, Reply):
        return route.handler
    if request.headers.get("content-encoding"):
        return Reply(400, b"Request body size did not match Content-Length", "text/plain")
    try:
        body = _read_json(raw)
        access = _admit(route, keys, request)
        call = Call(request.path_params, _read_object(route, body), _token(access))
        with store.session(access.project) as session:
            return route.handler(session, call)
    except Refusal as exc:
        return exc.reply()
    except sqlite3.DatabaseError:
        return database_failure().reply()
    except (TypeError, AttributeError, ValueError):
        return empty_failure().reply()  # a body of a shape nothing checks for ends in a bare 500 on the server too


def _admit(route: Route, keys: Keys, request: Request) -> Access:
    if route.open:
        return Access(MAIN_PROJECT, "read")
    word, _, key = request.headers.get("authorization", "").partition(" ")
    access = keys.get(key.strip()) if word else None
    if access is None:
        raise refused(403, "Forbidden resource")
    if access.level == "read" and not route.reads:
        raise refused(403, "This API key is read-only and cannot access this endpoint")
    return access


def _read_json(raw: bytes) -> Any:
    if not raw:
        return {}
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        return _read_loosely(raw.decode(errors="replace"), exc)


def _read_loosely(text: str, reason: orjson.JSONDecodeError) -> Any:
    """JavaScript reads 1e400 as infinity, orjson refuses it; NaN is no JSON to either."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        raise _invalid_json(text, reason.pos) from reason


def _refuse_constant(word: str) -> None:
    raise ValueError(word)


def _read_object(route: Route, body: Any) -> Any:
    if route.method not in NO_BODY and not isinstance(body, dict):
        kinds = {list: "array", str: "string", bool: "boolean", type(None): "null"}
        raise invalid_body(f"value Expected object, received {kinds.get(type(body), 'number')}")
    return body


def _invalid_json(text: str, position: int) -> Refusal:
    if position >= len(text):
        return refused(400, "Unexpected end of JSON input")
    return refused(400, f"Unexpected token '{text[position]}', \"{text[:40]}\" is not valid JSON")


def _token(access: Access) -> dict[str, Any]:
    return {
        "id": f"sandbox-{access.project}-{access.level}",
        "name": access.level,
        "description": "",
        "level": access.level,
    }


async def _no_route(request: Request, _: Exception) -> Response:
    refusal = refused(404, f"Cannot {request.method} {request.url.path}")
    return Response(orjson.dumps(refusal.body), 404, media_type="application/json")


__all__ = ["Access", "Keys", "create_app", "keys_for"]
