"""What RushDB Cloud counts, beside what its plans hold. Estimates: the price list is theirs and may change. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

UNITS_A_RECORD = 10
HOLDS: Mapping[str, int] = {"Free": 100_000, "Pro": 10_000_000}
"""Units a month."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Records (nodes among them), links and vectors, and the units they are thought to cost once.

    holds: units a month, by plan. What vectors and links cost beside that is not published.
    """

    records: int
    nodes: int
    links: int
    vectors: int
    units: int
    holds: Mapping[str, int] = field(default_factory=lambda: dict(HOLDS))


def usage(tables: Iterable[int], nodes: Iterable[int], links: Iterable[float], vectors: float) -> Usage:
    """tables, nodes: records of each label. links: of each type."""
    values = sum(nodes)
    records = sum(tables) + values
    return Usage(records, values, round(sum(links)), round(vectors), records * UNITS_A_RECORD)
