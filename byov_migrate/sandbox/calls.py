"""What reaches a handler of one request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """Path parameters, parsed body (an empty object without one), and whose key it came with."""

    path: Mapping[str, str]
    body: Any
    token: Mapping[str, Any] = field(default_factory=dict)
