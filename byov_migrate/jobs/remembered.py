"""Vectors that were made lately, by their text: a text that comes again is not embedded again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from byov_migrate.records import Vector

MOST_BYTES = 64_000_000
"""Of vectors; 20,000 of 768 dimensions. Memory stays bounded whatever the table holds."""


class Remembered:
    """Vectors by text, the least lately used ones forgotten. One thread changes it, another may ask what is there."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._left_bytes = most_bytes
        self._vectors: OrderedDict[bytes, tuple[Vector, bool]] = OrderedDict()

    def __contains__(self, text: str) -> bool:
        return _digest(text) in self._vectors

    def get(self, text: str) -> tuple[Vector, bool] | None:
        """Vector and whether the text was truncated for it; None when it is not known."""
        key = _digest(text)
        if key in self._vectors:
            self._vectors.move_to_end(key)
        return self._vectors.get(key)

    def put(self, text: str, vector: Vector, *, truncated: bool) -> None:
        """Remember a vector."""
        key = _digest(text)
        if key in self._vectors:
            return
        self._vectors[key] = (vector.copy(), truncated)  # a copy: a row of a matrix keeps the whole matrix alive
        self._left_bytes -= vector.nbytes
        while self._left_bytes < 0:
            _, (forgotten, _) = self._vectors.popitem(last=False)
            self._left_bytes += forgotten.nbytes


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
