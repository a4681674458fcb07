"""What a search found, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Hit:
    """One record, best first.

    text, shown: read from PostgreSQL. `text` is None when the row is gone or has none; `shown` has the columns asked
    for as PostgreSQL writes them, None for NULL, and is empty when the row is gone.
    """

    score: float
    key: str
    properties: Mapping[str, Any]
    text: str | None
    shown: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seconds:
    """Where the time went: the model's loading, the embedding of the query, RushDB's answers, PostgreSQL's."""

    loading: float
    embedding: float
    asking: float
    reading: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """How the hits came about.

    candidates: records with a vector that were compared (exact), or that the index knows of this label (index).
    """

    way: str  # "exact" or "index"
    reason: str
    candidates: int
    dimension: int
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class SearchResult:
    """`exact`: every record was compared; else the index answered, whose scores are off by up to 0.004.

    seconds: until RushDB had answered.
    """

    label: str
    property_name: str
    hits: tuple[Hit, ...]
    exact: bool
    seconds: float
    explanation: Explanation | None = None
