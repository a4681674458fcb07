"""Batches of made-up rows, as the composer would build them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from byov_migrate.config import TableConfig
from byov_migrate.digests import Digests, probe_scores
from byov_migrate.jobs.documents import Composer
from byov_migrate.records import Batch, Embedded, Position, Row, Vector

DIMENSION = 8
DIGESTS = Digests(bytes(range(32)))
PROBES = DIGESTS.probes(DIMENSION)
LABEL = "Job"


def table_config(**table: object) -> TableConfig:
    """`[[tables]]` with one embedding of ready vectors."""
    plain = {
        "name": "public.job",
        "label": LABEL,
        "columns": ["title"],
        "embeddings": [{"property": "description", "vector": "embedding"}],
    }
    return TableConfig.model_validate({**plain, **table})


def composer(**table: object) -> Composer:
    """A composer of that table."""
    config = table_config(**table)
    return Composer(config, DIGESTS, "state-of-a-test", tuple(None for _ in config.embeddings))


def vector_for(key: str) -> Vector:
    """A vector that no other key has."""
    seed = int.from_bytes(key.encode(), "big")
    return np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)


def embedded(key: str, *, bare: bool = False, maker: Composer | None = None, title: str = "Driver") -> Embedded:
    """One row with its vector, or without one."""
    vector = None if bare else vector_for(key)
    document = (maker or composer()).document(Row(key, (key,), {"title": title}, (vector,)))
    scores = None if vector is None else probe_scores(vector[None, :], PROBES)[0]
    return Embedded(document, (vector,), (scores,))


def batch_of(keys: Sequence[str], *, bare: Sequence[str] = (), covers: Sequence[Position] = ()) -> Batch:
    """A batch of these keys; those in `bare` have no vector."""
    maker = composer()
    return maker.batch([embedded(key, bare=key in bare, maker=maker) for key in keys], covers)


def numbered(count: int, start: int = 1) -> list[str]:
    """Keys "1", "2", ..."""
    return [str(number) for number in range(start, start + count)]
