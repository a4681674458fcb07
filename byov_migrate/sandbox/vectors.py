"""Vectors in memory: loaded once for each index, scored by brute force.

One `Space` holds the vectors of one index. The exact search looks at the records it is given; the approximate one
does what RushDB's shared vector index does: it ranks all labels and projects of one shape together, and whoever asks
filters afterwards, so that a small label may come back empty.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Scores = NDArray[np.float64]
Numbers = NDArray[np.int64]

BLOCK_ROWS = 4096
APPROXIMATION = 0.1  # over the square root of the dimensions: how far the shared index's scores may be off


@dataclass(frozen=True, slots=True)
class VectorChange:
    """What a committed transaction did to vectors.

    space: None for all spaces. vectors: float32, shape (n, dimensions), one a record; None erases.
    records: None for all records of the space.
    """

    space: int | None
    records: Sequence[int] | None
    vectors: Matrix | None = None


class ZeroVector(Exception):
    """A vector without a direction met a search that needs one."""


class Space:
    """The vectors of one index, in blocks so that growing copies nothing."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._blocks: list[Matrix] = []
        self._numbers = np.empty(0, dtype=np.int64)  # record at each row, -1 where none is left
        self._rows: dict[int, int] = {}
        self._dropped = 0

    def put(self, records: Sequence[int], vectors: Matrix) -> None:
        """Set the vectors of records; the last one wins when a record comes twice."""
        for record in records:
            if record not in self._rows:
                self._rows[record] = len(self._rows) + self._dropped
        self._grow_to(len(self._rows) + self._dropped)
        rows = np.asarray([self._rows[record] for record in records], dtype=np.int64)
        self._numbers[rows] = records
        for number in np.unique(rows // BLOCK_ROWS):
            here = rows // BLOCK_ROWS == number
            self._blocks[number][rows[here] % BLOCK_ROWS] = vectors[here]

    def drop(self, records: Iterable[int]) -> None:
        """Forget the vectors of records that have one; their rows stay empty."""
        for record in records:
            row = self._rows.pop(record, None)
            if row is not None:
                self._numbers[row] = -1
                self._dropped += 1

    def all_scores(self, query: NDArray[np.float64], similarity: str) -> tuple[Numbers, Scores]:
        """Every record and its score, in single precision; zero vectors are left out, as by the shared index."""
        rows = np.flatnonzero(self._numbers >= 0)
        scores = self._scored(rows, query.astype(np.float32), similarity)
        scored = ~np.isnan(scores)
        return self._numbers[rows[scored]], scores[scored]

    def exact_scores(
        self, query: NDArray[np.float64], similarity: str, records: Sequence[int]
    ) -> tuple[Numbers, Scores]:
        """Those of the given records that have a vector, and their scores in double precision. Raises ZeroVector."""
        found = [row for record in records if (row := self._rows.get(record)) is not None]
        rows = np.sort(np.asarray(found, dtype=np.int64))
        scores = self._scored(rows, query, similarity)
        if np.isnan(scores).any():
            raise ZeroVector
        return self._numbers[rows], scores

    def _scored(self, rows: Numbers, query: NDArray[Any], similarity: str) -> Scores:
        scores = np.empty(len(rows), dtype=np.float64)
        for block, chosen in self._by_block(rows):
            vectors = block[rows[chosen] % BLOCK_ROWS]
            scores[chosen] = _score(vectors.astype(query.dtype, copy=False), query, similarity)
        return scores

    def _grow_to(self, rows: int) -> None:
        missing = -(-rows // BLOCK_ROWS) - len(self._blocks)
        self._blocks += [np.zeros((BLOCK_ROWS, self._dimensions), dtype=np.float32) for _ in range(missing)]
        grown = len(self._blocks) * BLOCK_ROWS - len(self._numbers)
        self._numbers = np.concatenate([self._numbers, np.full(grown, -1, dtype=np.int64)])

    def _by_block(self, rows: Numbers) -> Iterator[tuple[Matrix, slice]]:
        edges = np.searchsorted(rows, np.arange(len(self._blocks) + 1) * BLOCK_ROWS)
        for number, block in enumerate(self._blocks):
            if edges[number] < edges[number + 1]:
                yield block, slice(edges[number], edges[number + 1])


def _score(vectors: NDArray[Any], query: NDArray[Any], similarity: str) -> Scores:
    """Scores between 0 and 1; NaN for a zero vector under cosine."""
    if similarity == "euclidean":
        distances: Scores = ((vectors - query) ** 2).sum(axis=1, dtype=np.float64)
        return 1.0 / (1.0 + distances)
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors)) * np.linalg.norm(query)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines: Scores = (vectors @ query) / norms
    return (1.0 + np.clip(cosines, -1.0, 1.0)) / 2.0


def blurred(numbers: Numbers, scores: Scores, dimensions: int) -> Scores:
    """Scores as a quantised index gives them: a little low, and always by the same amount for the same record."""
    spread = (numbers * 2654435761 % 2**32) / 2**32
    lower: Scores = scores - spread * APPROXIMATION / np.sqrt(dimensions)
    return np.clip(lower, 0.0, 1.0)


def best(numbers: Numbers, scores: Scores, count: int) -> tuple[Numbers, Scores]:
    """The `count` highest scores, highest first; equal ones by record, oldest first."""
    if count <= 0:
        return numbers[:0], scores[:0]
    if count < len(scores):
        chosen = np.argpartition(-scores, count - 1)[:count]
        numbers, scores = numbers[chosen], scores[chosen]
    order = np.lexsort((numbers, -scores))
    return numbers[order], scores[order]


class VectorCache:
    """Spaces that were searched, by index number; those never searched stay on disk."""

    def __init__(self) -> None:
        self._spaces: dict[int, Space] = {}

    def space(self, connection: sqlite3.Connection, number: int, dimensions: int) -> Space:
        """The vectors of one index, read from disk at the first call."""
        if number not in self._spaces:
            space = Space(dimensions)
            cursor = connection.execute("SELECT record, data FROM vector WHERE space = ? ORDER BY record", (number,))
            while rows := cursor.fetchmany(1000):
                records, blobs = zip(*rows, strict=True)
                space.put(records, np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(rows), dimensions))
            self._spaces[number] = space
        return self._spaces[number]

    def apply(self, changes: Iterable[VectorChange]) -> None:
        """Bring the loaded spaces up to a transaction that has been committed."""
        for change in changes:
            for number in list(self._spaces) if change.space is None else [change.space]:
                self._change(number, change)

    def _change(self, number: int, change: VectorChange) -> None:
        space = self._spaces.get(number)
        if space is None:
            return
        if change.records is None:
            del self._spaces[number]
        elif change.vectors is None:
            space.drop(change.records)
        else:
            space.put(change.records, change.vectors)


def read_vector(raw: Any) -> NDArray[np.float64] | None:
    """A list of numbers as float64, or None when it is anything else. Infinite elements stay."""
    if not isinstance(raw, list) or not raw:
        return None
    try:
        array = np.asarray(raw)
    except ValueError:
        return None
    return array.astype(np.float64) if array.ndim == 1 and array.dtype.kind in "fiu" else None
