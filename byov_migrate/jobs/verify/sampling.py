"""Proofs by sample: a few texts embedded again, and how many of the true neighbours the index finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from byov_migrate.jobs.ranges import again_and_again
from byov_migrate.jobs.verify.results import SampleProof
from byov_migrate.jobs.verify.subject import Subject
from byov_migrate.records import KeyText, Row, Vector
from byov_migrate.state.comparison import Difference
from byov_migrate.target.where import EVERY_RECORD
from byov_migrate.target.wire import Index, Stored

EMBEDDED_AGAIN = 24
QUERIES = 20
NEIGHBOURS = 10
SAME_MODEL = 0.999


@dataclass(frozen=True)
class Sampled:
    """The proof, and the keys whose vectors another model made."""

    proof: SampleProof
    differences: tuple[Difference, ...]


def prove_by_sample(subject: Subject, number: int, positions: Sequence[KeyText]) -> Sampled:
    """One embedding, by the rows at these positions. Loads the model where texts are embedded."""
    plan, index = subject.plans[number], subject.indexes[number]
    name = plan.config.property_name
    if index is None:
        return Sampled(SampleProof(name, None, None, None), ())
    rows = again_and_again(partial(subject.reader.rows, list(positions)), subject.ends.patience)
    plain = [row for row in rows if isinstance(row, Row) and row.contents[number] is not None]
    vectors = _vectors(subject, number, plain)
    cosines = _cosines(subject, number, index, plain, vectors) if plan.encoder is not None else {}
    foreign = tuple(
        Difference("vectors", key, f"{name}: the model gives another vector now (cosine {cosine:.4f})")
        for key, cosine in cosines.items()
        if cosine < SAME_MODEL
    )
    recall = _recall(subject, index, list(vectors.values())[:QUERIES])
    embedded = len(cosines) if plan.encoder is not None else None
    return Sampled(SampleProof(name, embedded, min(cosines.values(), default=None), recall), foreign)


def _vectors(subject: Subject, number: int, rows: Sequence[Row]) -> dict[str, Vector]:
    """Key -> vector: from the source, or embedded now."""
    plan = subject.plans[number]
    ready = {row.key: content for row in rows if isinstance(content := row.contents[number], np.ndarray)}
    texts = {row.key: content for row in rows if isinstance(content := row.contents[number], str)}
    if not texts or plan.encoder is None:
        return ready
    encoded = plan.encoder().encode_documents(list(texts.values()))
    made = zip(texts, encoded.vectors, strict=True)
    return ready | {key: vector for n, (key, vector) in enumerate(made) if n not in encoded.refused}


def _cosines(
    subject: Subject, number: int, index: Index, rows: Sequence[Row], vectors: Mapping[str, Vector]
) -> dict[str, float]:
    """Key -> cosine of the stored vector and the one made now, where the record says it is of the same text."""
    found: dict[str, float] = {}
    mark_name = f"byovText_{subject.properties[number]}"
    for row in rows:
        mark = subject.composer.hashes(row)[1][number]
        for record in _search(subject, index, vectors[row.key], row.key) if row.key in vectors else ():
            if record.properties.get(mark_name) == mark and record.score is not None:
                found[row.key] = min(2 * record.score - 1, found.get(row.key, 1.0))
    return found


def _search(subject: Subject, index: Index, vector: Vector, key: str) -> list[Stored]:
    search = partial(subject.ends.wire.search, index, vector, where={"byovKey": key}, limit=NEIGHBOURS)
    return subject.ends.patience.retry(search)


def _recall(subject: Subject, index: Index, queries: Sequence[Vector]) -> float | None:
    """Mean share of the ten nearest by exact search that the index search finds."""
    shares = [share for query in queries if (share := _share(subject, index, query)) is not None]
    return sum(shares) / len(shares) if shares else None


def _share(subject: Subject, index: Index, query: Vector) -> float | None:
    retry, search = subject.ends.patience.retry, subject.ends.wire.search
    exact = {hit.record_id for hit in retry(partial(search, index, query, where=EVERY_RECORD, limit=NEIGHBOURS))}
    near = {hit.record_id for hit in retry(partial(search, index, query, where=None, limit=NEIGHBOURS))}
    return len(exact & near) / len(exact) if exact else None
