"""Where batches go, and what came of one that was answered with success."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from byov_migrate.records import Batch, Embedded, Rejected, Vector
from byov_migrate.target.wire import Index, LinkPlace

WriteMode: TypeAlias = Literal["inline", "two-call"]


@dataclass(frozen=True)
class Destination:
    """One label and its indexes, in the order of the embeddings.

    links: those that lead from here by keys that the records hold.

    unique: whether the server refuses a second record with the same `byovKey`. Asked at the first rewrite, which is
    ten times faster where it does.
    """

    label: str
    indexes: tuple[Index, ...]
    mode: WriteMode
    probes: tuple[Vector, ...]  # one an index, shape (3, dimension)
    unique: Callable[[], bool] = lambda: False
    links: tuple[LinkPlace, ...] = ()


@dataclass(frozen=True)
class Accepted:
    """A batch that was answered with success. Not proved."""

    batch: Batch
    record_ids: Mapping[str, str] = field(repr=False)
    rejected: tuple[Rejected, ...] = ()

    @property
    def rows(self) -> list[Embedded]:
        """The rows that were not rejected."""
        return [item for item in self.batch.rows if item.document.key in self.record_ids]

    @property
    def unvouched(self) -> bool:
        """Whether there are rows whose records no vectors call has vouched for, though they were written.

        A vectors call refuses unknown records, which proves a new one; a record that was there before proves nothing.
        """
        if self.batch.way == "attach":
            return False
        return self.batch.way != "create" or any(_is_bare(item) for item in self.rows)

    def attached(self, number: int) -> list[Embedded]:
        """The rows whose vector of this embedding is sent: not of appended ones whose record had it before."""
        return [item for item in self.rows if item.vectors[number] is not None and not self._keeps(item, number)]

    def vectors(self, number: int) -> dict[str, Vector]:
        """Record id -> vector of the embedding of this number, of the rows in `attached`."""
        held = ((self.record_ids[item.document.key], item.vectors[number]) for item in self.attached(number))
        return {record_id: vector for record_id, vector in held if vector is not None}

    def carried(self, number: int) -> int | None:
        """How many vectors of this embedding the records held that were rewritten; None when that is not known."""
        if self.batch.way != "rewrite":
            return 0  # what is attached where a vector was is seen by a count that does not fit
        known = [item.document.known for item in self.rows]
        if any(record is not None and not record.hash for record in known):
            return None
        return sum(record is not None and record.text_hashes[number] is not None for record in known)

    def _keeps(self, item: Embedded, number: int) -> bool:
        known = item.document.known
        had_it = known is not None and known.text_hashes[number] is not None
        return self.batch.way == "append" and had_it and not is_made_anew(item, self.record_ids)


def is_made_anew(item: Embedded, record_ids: Mapping[str, str]) -> bool:
    """Whether a row has another record than the known one: that one was deleted by somebody else."""
    known = item.document.known
    return known is None or record_ids[item.document.key] != known.record_id


def _is_bare(item: Embedded) -> bool:
    return all(vector is None for vector in item.vectors)
