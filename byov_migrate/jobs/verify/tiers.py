"""The five parts of a proof, and the kinds of differences that each finds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, TypeAlias

from byov_migrate.state.comparison import KINDS, Kind

Tier: TypeAlias = Literal["rows", "values", "vectors", "links", "text"]
TIERS: Final[tuple[Tier, ...]] = ("rows", "values", "vectors", "links", "text")
_FINDS: Final[Mapping[Tier, frozenset[Kind]]] = {
    "rows": frozenset({"missing", "extra", "doubled"}),
    "values": frozenset({"values"}),
    "vectors": frozenset({"vectors"}),
    "links": frozenset({"links"}),
    "text": frozenset({"text"}),
}


def kinds_of(skipped: Collection[Tier]) -> frozenset[Kind]:
    """The kinds that are looked for when these tiers are left out."""
    left_out = {kind for tier in skipped for kind in _FINDS[tier]}
    return frozenset(KINDS) - left_out
