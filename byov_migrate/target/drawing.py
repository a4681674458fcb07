"""A request as it would be sent, drawn by the wire itself and not sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from byov_migrate.target.http import HttpClient
from byov_migrate.target.rest import RestWire


@dataclass(frozen=True, slots=True)
class Drawn:
    """One request. `body` is plain: what the JSON that would leave says, digit by digit."""

    method: str
    path: str
    body: Mapping[str, Any]


@dataclass
class Paper:
    """Stands where the connection would: keeps each request and answers that nothing was found. Opens nothing."""

    drawn: list[Drawn] = field(default_factory=list)
    bytes_sent: int = 0
    requests_sent: int = 0

    def wire(self) -> RestWire:
        """A wire that draws on this paper."""
        return RestWire(cast(HttpClient, self))

    def call(self, method: str, path: str, body: Any = None, **_options: bool) -> dict[str, Any]:
        """Keep the request."""
        sent = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        self.drawn.append(Drawn(method, path, orjson.loads(sent)))
        return {"data": [], "total": 0}

    def close(self) -> None:
        """There is nothing to close."""
