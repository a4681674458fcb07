"""Texts that two directories of one model must agree on, and how far they do."""

from __future__ import annotations

import random

import numpy as np

from byov_migrate.records import Vector

TEXTS = 32
_PHRASES = (
    "senior data engineer remote Berlin salary 70,000 to 90,000 EUR; we build pipelines, search and APIs. "
    "Über Erfahrung mit SQL freuen wir uns! 東京 の チーム C++ (m/f/d) 40 h/week apply now? café naïve 3.5 %"
)


def sample_texts() -> list[str]:
    """The texts both directories embed: the same each time, of one to some 240 words, beyond ASCII too."""
    chosen = random.Random(1)  # noqa: S311 - no secret
    words = _PHRASES.split()
    lengths = [1, 2, 3, *(round(3 * 1.17**step) for step in range(TEXTS - 3))]
    return [" ".join(chosen.choices(words, k=length)) for length in lengths]


def lowest_cosine(first: Vector, second: Vector) -> float:
    """The lowest cosine between rows of the same number; NaN where a row is zeros or not finite, or shapes differ."""
    if first.shape != second.shape or not first.size:
        return float("nan")
    a, b = first.astype(np.float64), second.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float(cosines.min())  # of NaN and numbers, min is NaN
