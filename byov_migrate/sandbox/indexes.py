"""External vector indexes: their rows, statistics, vectors and searches."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from byov_migrate.sandbox import records
from byov_migrate.sandbox.documents import InlineVector
from byov_migrate.sandbox.records import Stored
from byov_migrate.sandbox.replies import Refusal, database_failure, empty_failure, invalid_body, refused
from byov_migrate.sandbox.store import Session, utc_now
from byov_migrate.sandbox.vectors import VectorChange, read_vector

COLUMNS = "number, id, project, label, property, similarity, dimensions, status, created, updated"
SIMILARITIES = ("cosine", "euclidean")
MOST_DIMENSIONS = 4096


@dataclass(frozen=True, slots=True)
class Index:
    """One row of the index list."""

    number: int
    id: str
    project: int
    label: str
    property: str
    similarity: str
    dimensions: int
    status: str
    created: str
    updated: str

    def reply(self, project_id: str) -> dict[str, Any]:
        """The row as the API shows it."""
        return {
            "id": self.id,
            "projectId": project_id,
            "label": self.label,
            "propertyName": self.property,
            "modelKey": "",
            "sourceType": "external",
            "similarityFunction": self.similarity,
            "dimensions": self.dimensions,
            "vectorPropertyName": f"_emb_external_{self.similarity}_{self.dimensions}",
            "enabled": True,
            "status": self.status,
            "createdAt": self.created,
            "updatedAt": self.updated,
        }


def listed(session: Session) -> list[Index]:
    """Indexes of the project, oldest first."""
    rows = session.connection.execute(
        f"SELECT {COLUMNS} FROM vector_index WHERE project = ? ORDER BY number", (session.project,)
    )
    return [Index(*row) for row in rows]


def create(session: Session, body: Mapping[str, Any]) -> Index:
    """Raises 400, 409, 422 or 500 as the server does."""
    label, name, similarity, dimensions = _read_definition(body)
    _refuse_other_type(session, name)
    if any(signature(index) == (label, name, similarity, dimensions) for index in listed(session)):
        raise refused(
            409,
            f'An embedding index for label "{label}", property "{name}", sourceType "external", '
            f'similarityFunction "{similarity}", and dimensions {dimensions} already exists',
        )
    if not label.isidentifier():
        raise database_failure()
    now, index_id = utc_now(), str(uuid.uuid4())
    session.connection.execute(
        "INSERT INTO vector_index (id, project, label, property, similarity, dimensions, status, created, updated) "
        "VALUES (?, ?, ?, ?, ?, ?, 'awaiting_vectors', ?, ?)",
        (index_id, session.project, label, name, similarity, dimensions, now, now),
    )
    return by_id(session, index_id)


def by_id(session: Session, index_id: str) -> Index:
    """Raises 404 for an index that is not there or belongs to another project."""
    row = session.connection.execute(
        f"SELECT {COLUMNS} FROM vector_index WHERE id = ? AND project = ?", (index_id, session.project)
    ).fetchone()
    if row is None:
        raise refused(404, f'Embedding index "{index_id}" not found')
    return Index(*row)


def remove(session: Session, index: Index) -> None:
    """Remove an index with its vectors, at once; the server strips the vectors some seconds later."""
    session.connection.execute("DELETE FROM vector WHERE space = ?", (index.number,))
    session.connection.execute("DELETE FROM vector_index WHERE number = ?", (index.number,))
    session.vector_changes.append(VectorChange(index.number, None))


def stats(session: Session, index: Index) -> tuple[int, int]:
    """Records of the label that have the property, and how many of those have a vector."""
    session.write_property_counts()
    session.property_changes.clear()
    total = session.connection.execute(
        "SELECT coalesce(sum(records), 0) FROM property_count WHERE project = ? AND name = ? AND label = ?",
        (session.project, index.property, index.label),
    ).fetchone()[0]
    indexed = session.connection.execute("SELECT count(*) FROM vector WHERE space = ?", (index.number,)).fetchone()[0]
    return int(total), int(indexed)


def upsert_vectors(session: Session, index: Index, items: Any) -> int:
    """Write all vectors of one call or none. Raises 422 or 500. The last one wins when an id comes twice."""
    if not isinstance(items, list):
        raise empty_failure()
    if not items:
        return 0
    vectors = _read_matrix([item.get("vector") for item in items], index.dimensions)
    ids = [str(item.get("recordId")) for item in items]
    found = records.numbers_of(session, ids)
    numbers = [found[record_id][0] for record_id in ids if found.get(record_id, (0, ""))[1] == index.label]
    if len(numbers) < len(ids) or len(_having(session, numbers, index.property)) < len(set(numbers)):
        raise refused(
            422,
            f'Some record ids were not found for label "{index.label}" and property "{index.property}"',
        )
    _write(session, index, numbers, vectors)
    return len(items)


def attach_inline(session: Session, written: Sequence[tuple[Stored, Sequence[InlineVector]]]) -> None:
    """Store the vectors that came with records. Raises 404 or 422.

    A vector whose property the record lacks is dropped without a word: the server's trap.
    """
    known = listed(session)
    accepted: dict[Index, dict[int, NDArray[np.float64]]] = {}
    for stored, entries in written:
        properties = stored.content().properties if entries else {}
        for entry in entries:
            index, vector = _inline_target(known, stored.label, entry)
            if entry.property in properties:
                accepted.setdefault(index, {})[stored.number] = vector
    for index, vectors in accepted.items():
        _write(session, index, list(vectors), np.asarray(list(vectors.values()), dtype="<f4"))


def _inline_target(known: Sequence[Index], label: str, entry: InlineVector) -> tuple[Index, NDArray[np.float64]]:
    length = len(entry.vector) if isinstance(entry.vector, list) else 0
    matching = [
        index
        for index in known
        if (index.label, index.property, index.dimensions) == (label, entry.property, length)
        and entry.similarity in (None, index.similarity)
    ]
    where = f'label "{label}", property "{entry.property}", dimensions {length}'
    if not matching:
        raise refused(404, f"No external embedding index found for {where}")
    if len(matching) > 1:
        raise refused(
            422,
            f"Multiple external embedding indexes match {where}. "
            'Specify "similarityFunction" in the vector entry to disambiguate.',
        )
    vector = read_vector(entry.vector)
    if vector is None or not np.isfinite(vector).all():
        raise refused(422, f'Vector for property "{entry.property}" contains non-finite values')
    return matching[0], vector


def _write(session: Session, index: Index, numbers: Sequence[int], vectors: NDArray[np.float32]) -> None:
    session.connection.executemany(
        "INSERT INTO vector (record, space, data) VALUES (?, ?, ?) "
        "ON CONFLICT (record, space) DO UPDATE SET data = excluded.data",
        [(number, index.number, vector.tobytes()) for number, vector in zip(numbers, vectors, strict=True)],
    )
    session.vector_changes.append(VectorChange(index.number, numbers, vectors))
    total, indexed = stats(session, index)
    status = "ready" if total == indexed > 0 else "awaiting_vectors"
    session.connection.execute(
        "UPDATE vector_index SET status = ?, updated = ? WHERE number = ?", (status, utc_now(), index.number)
    )


def _read_matrix(raw: Sequence[Any], dimensions: int) -> NDArray[np.float32]:
    vectors = [read_vector(item) for item in raw]
    if any(vector is None or len(vector) != dimensions or not np.isfinite(vector).all() for vector in vectors):
        raise refused(422, f"Every vector must contain exactly {dimensions} finite numeric values")
    return np.asarray(vectors, dtype="<f4")


def _having(session: Session, numbers: Sequence[int], name: str) -> set[int]:
    having: set[int] = set()
    for chunk in records.chunks(numbers):
        rows = session.connection.execute(
            f"SELECT number FROM record WHERE number IN ({records.marks(chunk)}) AND json_type(body, ?) IS NOT NULL",
            [*chunk, f'$."{name}"'],
        )
        having.update(row[0] for row in rows)
    return having


def signature(index: Index) -> tuple[str, str, str, int]:
    """What no two indexes of a project share."""
    return index.label, index.property, index.similarity, index.dimensions


def _read_definition(body: Mapping[str, Any]) -> tuple[str, str, str, int]:
    label, name = (_required_name(body, key) for key in ("label", "propertyName"))
    dimensions, similarity = body.get("dimensions"), body.get("similarityFunction", "cosine")
    if isinstance(dimensions, float) and not dimensions.is_integer():
        raise invalid_body('"dimensions" Expected integer, received float')
    if dimensions is not None and dimensions < 1:
        raise invalid_body('"dimensions" Number must be greater than or equal to 1')
    if dimensions is not None and dimensions > MOST_DIMENSIONS:
        raise invalid_body(f'"dimensions" Number must be less than or equal to {MOST_DIMENSIONS}')
    if similarity not in SIMILARITIES:
        raise invalid_body(
            f"\"similarityFunction\" Invalid enum value. Expected 'cosine' | 'euclidean', received '{similarity}'"
        )
    if dimensions is None or not (body.get("external") is True or body.get("sourceType") == "external"):
        raise refused(422, f"dimensions must be an integer between 1 and {MOST_DIMENSIONS}")
    return label, name, similarity, int(dimensions)


def _required_name(body: Mapping[str, Any], key: str) -> str:
    name = body.get(key)
    if not isinstance(name, str) or not name:
        raise invalid_body(f'"{key}" {key} is required and must be a non-empty string')
    return name


def _refuse_other_type(session: Session, name: str) -> None:
    """The property may be absent from the project, but it must not be there as anything but text."""
    kinds = {
        row[0]
        for row in session.connection.execute(
            "SELECT type FROM property_count WHERE project = ? AND name = ? AND records > 0", (session.project, name)
        )
    }
    if kinds and "string" not in kinds:
        raise _other_type(name, min(kinds))


def _other_type(name: str, kind: str) -> Refusal:
    return refused(
        422, f'Property "{name}" has type "{kind}" — only string (and List<String>) properties can be indexed'
    )
