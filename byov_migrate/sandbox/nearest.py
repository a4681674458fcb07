"""`/ai/search`: the records whose vectors lie nearest to a query vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from byov_migrate.sandbox import records
from byov_migrate.sandbox.indexes import Index, listed, signature
from byov_migrate.sandbox.records import Stored
from byov_migrate.sandbox.replies import database_failure, empty_failure, refused
from byov_migrate.sandbox.search import numbers_matching, read_query
from byov_migrate.sandbox.store import Session
from byov_migrate.sandbox.values import as_number
from byov_migrate.sandbox.vectors import Numbers, Scores, ZeroVector, best, blurred, read_vector
from byov_migrate.sandbox.where import Condition, joined, linked_counts


def nearest(session: Session, body: Mapping[str, Any]) -> list[tuple[Stored, float]]:
    """Records with their scores, best first. Any `where`, or a second label, makes it exact. Raises 400, 404, 500."""
    index, query = _searched_index(session, body)
    skip, limit = int(body.get("skip") or 0), body.get("limit")
    limit = 20 if limit is None or limit < 0 else int(limit)
    if not np.any(query):
        raise database_failure()
    if body.get("where") or len(body["labels"]) > 1:
        numbers, scores = _repeated(session, body.get("where"), *_exact(session, index, body, query))
    else:
        numbers, scores = _approximate(session, index, query, skip, limit)
    numbers, scores = best(numbers, scores, skip + limit)
    found = records.by_numbers(session, numbers[skip:].tolist())
    return list(zip(found, map(as_number, scores[skip:].astype(np.float32)), strict=True))


def _exact(
    session: Session, index: Index, body: Mapping[str, Any], query: NDArray[np.float64]
) -> tuple[Numbers, Scores]:
    wanted = read_query({"labels": [index.label], "where": body.get("where") or {}})
    numbers = numbers_matching(session, wanted)
    space = session.vectors.space(session.connection, index.number, index.dimensions)
    try:
        return space.exact_scores(query, index.similarity, numbers)
    except ZeroVector as exc:
        raise database_failure() from exc


def _repeated(session: Session, where: Any, numbers: Numbers, scores: Scores) -> tuple[Numbers, Scores]:
    """Each record as often as there are linked records that fulfil the filter, as the server's join has it."""
    counts = linked_counts(where, "r", session.project)
    if not counts or not len(numbers):
        return numbers, scores
    times = joined([Condition(f"({count.sql})", count.parameters) for count in counts], " * ")
    query = f"SELECT {times.sql} FROM json_each(?) n JOIN record r ON r.number = n.value ORDER BY n.key"
    wanted = orjson.dumps(numbers.tolist()).decode()
    rows = session.connection.execute(query, (*times.parameters, wanted)).fetchall()
    repeats = np.array([row[0] for row in rows])
    return np.repeat(numbers, repeats), np.repeat(scores, repeats)


def _approximate(
    session: Session, index: Index, query: NDArray[np.float64], skip: int, limit: int
) -> tuple[Numbers, Scores]:
    candidates = min(max(skip + limit, 20 * limit, 1000), 10_000)
    own = np.empty(0, dtype=np.int64)
    numbers, scores = [own], [np.empty(0, dtype=np.float64)]
    shape = session.connection.execute(
        "SELECT number FROM vector_index WHERE similarity = ? AND dimensions = ?", (index.similarity, index.dimensions)
    ).fetchall()
    for (space_number,) in shape:
        space = session.vectors.space(session.connection, space_number, index.dimensions)
        found, exact = space.all_scores(query, index.similarity)
        own = found if space_number == index.number else own
        numbers.append(found)
        scores.append(blurred(found, exact, index.dimensions))
    ranked, ranked_scores = best(np.concatenate(numbers), np.concatenate(scores), candidates)
    kept = np.isin(ranked, own)
    return ranked[kept], ranked_scores[kept]


def _searched_index(session: Session, body: Mapping[str, Any]) -> tuple[Index, NDArray[np.float64]]:
    labels = body.get("labels")
    if not isinstance(labels, list):
        raise empty_failure()
    if body.get("query") is not None and body.get("queryVector") is not None:
        raise refused(422, "Provide either query or queryVector, but not both")
    label, name = (labels or ["undefined"])[0], body.get("propertyName", "undefined")
    query = read_vector(body.get("queryVector"))
    similarity = body.get("similarityFunction", "cosine")
    if query is not None and body.get("sourceType") == "external":
        wanted = (label, name, similarity, len(query))
        for index in listed(session):
            if signature(index) == wanted and body.get("dimensions", len(query)) == len(query):
                return index, query
    raise refused(
        404,
        f'No embedding index found for label "{label}" and property "{name}" matching the requested vector signature',
    )
