"""Proofs by sample: a few texts embedded again, and how many of the true neighbours the index finds.

Every exact search goes through the whole label, so that one a row serves both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from byov_migrate.jobs.verify.ranking import share_found
from byov_migrate.jobs.verify.reading_sides import Pace
from byov_migrate.jobs.verify.results import SampleProof
from byov_migrate.jobs.verify.subject import Subject
from byov_migrate.records import Rejected, Row, Vector
from byov_migrate.state.comparison import Difference
from byov_migrate.target.where import EVERY_RECORD
from byov_migrate.target.wire import Index, Stored, Where

EMBEDDED_AGAIN = 24
QUERIES = 20
NEIGHBOURS = 10
SAME_MODEL = 0.999


@dataclass(frozen=True)
class Sampled:
    """The proof, and the keys whose vectors another model made."""

    proof: SampleProof
    differences: tuple[Difference, ...]


def prove_by_sample(subject: Subject, number: int, rows: Sequence[Row | Rejected], pace: Pace) -> Sampled:
    """One embedding, by these rows. Loads the model where texts are embedded; asks nothing of the source.

    Raise Interrupted after a stop.
    """
    plan, index = subject.plans[number], subject.indexes[number]
    name = plan.config.carrier
    if index is None:
        return Sampled(SampleProof(name, None, None, None), ())
    plain = [row for row in rows if isinstance(row, Row) and row.contents[number] is not None]
    search = _Search(subject, index, _vectors(subject, number, plain), pace)
    nearest = {key: search(key, EVERY_RECORD) for key in list(search.vectors)[:QUERIES]}
    cosines = _cosines(subject, number, plain, search, nearest) if plan.encoder is not None else {}
    foreign = tuple(
        Difference("vectors", key, f"{name}: the model gives another vector now (cosine {cosine:.4f})")
        for key, cosine in cosines.items()
        if cosine < SAME_MODEL
    )
    embedded = len(cosines) if plan.encoder is not None else None
    recall = _recall(search, nearest)
    return Sampled(SampleProof(name, embedded, min(cosines.values(), default=None), recall), foreign)


@dataclass(frozen=True)
class _Search:
    """Searches for what is nearest to a row of the sample. vectors: key -> vector."""

    subject: Subject
    index: Index
    vectors: Mapping[str, Vector]
    pace: Pace

    def __call__(self, key: str, where: Where | None) -> list[Stored]:
        self.pace.require_wanted()
        search = partial(self.subject.ends.wire.search, self.index, self.vectors[key], where=where, limit=NEIGHBOURS)
        return self.subject.ends.patience.retry(search)


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
    subject: Subject, number: int, rows: Sequence[Row], search: _Search, nearest: Mapping[str, Sequence[Stored]]
) -> dict[str, float]:
    """Key -> cosine of the stored vector and the one made now, where the record says it is of the same text."""
    found: dict[str, float] = {}
    embedding = subject.plans[number].config
    mark_name = f"byovText_{embedding.property_name}"
    keys = [row.key for row in rows]
    known = subject.ends.state.ledger.known(subject.table.name, keys, (embedding.carrier,))
    for row in rows:
        mark = subject.composer.hashes(row)[1][number]
        if not embedding.role.marked and (row.key not in known or known[row.key].text_hashes != (mark,)):
            continue
        for record in _own(row.key, search, nearest.get(row.key, ())) if row.key in search.vectors else ():
            said = record.properties.get(mark_name) if embedding.role.marked else mark
            if said == mark and record.score is not None:
                found[row.key] = min(2 * record.score - 1, found.get(row.key, 1.0))
    return found


def _own(key: str, search: _Search, nearest: Iterable[Stored]) -> list[Stored]:
    """The records of a key, scored: nearly always among the nearest to their own vector."""
    return [record for record in nearest if record.key == key] or search(key, {"byovKey": key})


def _recall(search: _Search, nearest: Mapping[str, Sequence[Stored]]) -> float | None:
    """Mean share of the ten nearest by exact search that the index search finds."""
    shares = [share_found(_ids(search(key, None)), _ids(exact)) for key, exact in nearest.items() if exact]
    return sum(shares) / len(shares) if shares else None


def _ids(hits: Iterable[Stored]) -> set[str]:
    return {hit.record_id for hit in hits}
