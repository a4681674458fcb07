"""What one part of a check has learned and another needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from byov_migrate.digests import Digests
from byov_migrate.embed import ModelIdentity
from byov_migrate.source import LinkShape, SourceIdentity, TableShape


@dataclass(frozen=True, slots=True)
class StateFacts:
    """What a state says. `records`: table -> records proved to be stored; `scope`: what it belongs to.

    `vectors`: (table, property) -> vectors proved to be attached.
    """

    format: int
    state_id: str
    generation: int
    records: Mapping[str, int]
    vectors: Mapping[tuple[str, str], int]
    scope: Mapping[str, Any]


@dataclass
class Seen:
    """Filled on the way; what is not there could not be learned, and its own finding says why.

    links: None where they could not be understood. rows: of each table, near enough; of nodes, where they were counted.
    dimensions: of ready vectors by table name and embedding property. project: of the target, told by any index.
    """

    identity: SourceIdentity | None = None
    shapes: dict[str, TableShape] = field(default_factory=dict)
    links: tuple[LinkShape, ...] | None = None
    rows: dict[str, int] = field(default_factory=dict)
    dimensions: dict[tuple[str, str], int] = field(default_factory=dict)
    models: dict[str, ModelIdentity] = field(default_factory=dict)
    state: StateFacts | None = None
    digests: Digests | None = field(default=None, repr=False)
    project: str | None = None
    target_answers: bool = False
    source_offset_s: float | None = None
