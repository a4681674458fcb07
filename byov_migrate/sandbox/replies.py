"""What goes back over the wire: the success envelope and every shape of refusal RushDB uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

ERROR_NAMES = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    422: "Unprocessable Entity",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: HTTP status and JSON (or plain text) body."""

    status: int
    content: bytes
    media_type: str = "application/json"


class Refusal(Exception):
    """A request that is not carried out; rolls the transaction back and becomes the reply."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(body.get("message", ""))
        self.status = status
        self.body = body

    def reply(self) -> Reply:
        """The refusal as an answer."""
        return Reply(self.status, orjson.dumps(self.body))


def enveloped(data: Any, *, status: int = 200, total: Any = None) -> Reply:
    """The success envelope; `total` is left out when None."""
    body = {"data": data, "success": True} if total is None else {"data": data, "total": total, "success": True}
    return Reply(status, orjson.dumps(body))


def refused(status: int, message: str) -> Refusal:
    """A refusal with message, error name and status."""
    return Refusal(status, {"message": message, "error": ERROR_NAMES[status], "statusCode": status})


def invalid_body(reason: str) -> Refusal:
    """400 as the validation of a body words it."""
    return refused(400, f"Request validation of body failed, because: {reason}")


def import_failed(reason: str) -> Refusal:
    """400 as the import route words an error of its database."""
    return Refusal(400, {"message": f"Import failed: {reason}", "statusCode": 400})


def not_found() -> Refusal:
    """404 without an error name, as for a record that is not there."""
    return Refusal(404, {"message": "Not Found", "statusCode": 404})


def empty_failure() -> Refusal:
    """500 with an empty object: what an unvalidated body ends in."""
    return Refusal(500, {})


def database_failure() -> Refusal:
    """500 of the database below RushDB."""
    return Refusal(500, {"statusCode": 500, "message": "Neo4j database error occurred"})
