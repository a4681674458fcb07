"""How much leaves, in how many requests, and how much the state grows. Sizes of bodies are those of real bodies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from byov_migrate.records import Document, Vector

BATCH_NAME = "0" * 16
RECORD_ID = "0" * 36
MEASURED_ROWS = 200

# Of the state, in bytes, measured by filling states of 2,000 and 50,000 rows: what a record and a vector take beside
# their key, pages that are half full included, and what is there whatever it holds.
STATE_RECORD_BYTES = 125
STATE_VECTOR_BYTES = 110
STATE_BASE_BYTES = 250_000
STATE_EDGE_BYTES, STATE_EDGE_KEYS = 30, 3.45
"""Of a link: in bytes, and how often both of its keys stand there, as measured with 20,000 and 50,000 links."""


@dataclass(frozen=True, slots=True)
class RowBytes:
    """Bytes of one row on the way, on average: its record, and the vectors that go with it."""

    record: float
    vectors: float


def row_bytes(documents: Sequence[Document], vector_sizes: Sequence[float]) -> RowBytes:
    """From bodies as they are sent; `vector_sizes`: of each embedding's."""
    if not documents:
        return RowBytes(0.0, 0.0)
    some = documents[:MEASURED_ROWS]
    record = sum(len(orjson.dumps({**item.properties, "byovBatch": BATCH_NAME})) + 1 for item in some) / len(some)
    carried = 0.0
    for number, size in enumerate(vector_sizes):
        carried += size * sum(item.text_hashes[number] is not None for item in documents) / len(documents)
    return RowBytes(record, carried)


def vector_bytes(dimension: int, made: Vector | None) -> float:
    """Of an item of the vectors call. `made`: some real ones, shape (n, dimension), zeros left out; else by chance."""
    made = made[made.any(axis=1)] if made is not None else None
    if made is None or not len(made):
        made = np.random.default_rng(1).standard_normal((4, dimension)).astype(np.float32)
        made /= np.linalg.norm(made, axis=1, keepdims=True)
    items = [{"recordId": RECORD_ID, "vector": vector} for vector in made[:MEASURED_ROWS]]
    return len(orjson.dumps(items, option=orjson.OPT_SERIALIZE_NUMPY)) / len(items)


def requests(rows: float, batch_rows: float, indexes: int, *, is_inline: bool, checkpoints: float) -> int:
    """Requests of a whole backfill: the batches', the proofs' and about a dozen at its beginning and end."""
    batches = np.ceil(rows / max(batch_rows, 1.0))
    calls = 1 if is_inline else 1 + indexes
    return int(batches * calls + np.ceil(min(checkpoints, batches)) * max(indexes, 1) + 12)


def state_bytes(
    rows: float, key_bytes: float, vectors: float, dimensions: Sequence[int], *, keeps_vectors: bool
) -> int:
    """Bytes of the state file at the end; its write-ahead log, which comes and goes, is counted."""
    records = rows * (STATE_RECORD_BYTES + key_bytes)
    marks = vectors * (STATE_VECTOR_BYTES + key_bytes)
    cached = vectors * (4 * np.mean(dimensions) + key_bytes + 100) if keeps_vectors and dimensions else 0.0
    return int(STATE_BASE_BYTES + records + marks + cached)


def edge_bytes(links: float, source_key_bytes: float, target_key_bytes: float) -> int:
    """Bytes that the state takes for links, beside those of their records."""
    return int(links * (STATE_EDGE_BYTES + STATE_EDGE_KEYS * (source_key_bytes + target_key_bytes)))
