"""The values that travel from PostgreSQL to RushDB.

    Page of Row | Rejected  ──►  Document  ──►  Embedded  ──►  Batch  ──►  Receipt
         source                        jobs, embed             target       target, state

All are frozen. A bad row is a value (`Rejected`) in the stream, never an exception through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Scalar: TypeAlias = str | float | int | bool
Outgoing: TypeAlias = Scalar | list[Scalar]
Vector: TypeAlias = NDArray[np.float32]
KeyText: TypeAlias = tuple[str, ...]
"""PostgreSQL's text of the key columns, in key order; only PostgreSQL compares or sorts it."""

Content: TypeAlias = str | Vector | None
"""What is embedded for one `[[tables.embeddings]]`: rendered text, a ready vector, or None when there is no text."""

Refs: TypeAlias = Mapping[str, tuple[str, ...]]
"""Link type -> the keys of the records that a row leads to, without repetition, as its link properties hold them."""

Scores: TypeAlias = tuple[float, float, float]
"""A vector's scores against the three probes, (1 + cosine) / 2."""

LinkEnd: TypeAlias = Literal["source", "target"]
"""Which of the two records of a link."""

Stage: TypeAlias = Literal["read", "embed", "write"]

Way: TypeAlias = Literal["create", "append", "rewrite", "attach"]
"""How a row is written: as a new record; over a record, which keeps its vectors; in place of all a record held; or not
at all, when only a vector is to be attached to a record that is as it should be."""


@dataclass(frozen=True, slots=True)
class Known:
    """A stored record as the state knows it. An empty `hash`: a write of it was begun and never proved."""

    record_id: str
    hash: str
    text_hashes: tuple[str | None, ...]  # one an embedding, None without a vector
    kept: Mapping[str, Any] = field(default_factory=dict)  # what an application added, to be sent back by a rewrite
    refs: Refs = field(default_factory=dict)
    batch: str = ""  # the name that the record carries, where it is to be written over
    lost: tuple[str | None, ...] = ()  # one an embedding: the text it was made of, where its vector is lost


@dataclass(frozen=True, slots=True)
class Row:
    """One row as read: what may leave (`properties`) and what is embedded (`contents`, one an embedding)."""

    key: str
    position: KeyText
    properties: Mapping[str, Outgoing]
    contents: tuple[Content, ...] = ()
    way: Way = "create"
    known: Known | None = None  # the record that is written over
    cached: tuple[Vector | None, ...] = ()  # one an embedding: a vector of this very content, already made
    refs: Refs = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be sent, and why. Never holds a value of the row but its key."""

    key: str
    position: KeyText
    stage: Stage
    code: str
    reason: str
    column: str | None = None
    setting: str | None = None  # the configuration line that would help


@dataclass(frozen=True, slots=True)
class Position:
    """How far a stored range has been read: everything up to and including `upto`; `done` when nothing is left."""

    range_id: int
    upto: KeyText | None
    done: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one stored range in key order, and the position reached when all of them are settled.

    `position` is None for rows that were asked for by key and move nothing on.
    """

    rows: tuple[Row | Rejected, ...]
    position: Position | None


@dataclass(frozen=True, slots=True)
class KeyRange:
    """A stored range of keys: above `lower` (exclusive) up to `upper` (inclusive); None is open.

    `position` is where reading goes on (exclusive), None at the range's beginning.
    """

    id: int
    lower: KeyText | None
    upper: KeyText | None
    position: KeyText | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A row ready to leave: `properties` is the whole body of its record, `byov*` included."""

    key: str
    position: KeyText
    hash: str
    properties: Mapping[str, Outgoing]
    text_hashes: tuple[str | None, ...]  # one an embedding, None without text
    way: Way = "create"
    known: Known | None = None
    refs: Refs = field(default_factory=dict)

    @property
    def loosened(self) -> list[str]:
        """Types of the links that the record must lose before it is written: they would stand beside the new ones."""
        if self.known is None:
            return []
        if not self.known.hash:
            return sorted(self.refs.keys() | self.known.refs.keys())
        return sorted(kind for kind, keys in self.known.refs.items() if keys != self.refs.get(kind))


@dataclass(frozen=True, slots=True)
class Embedded:
    """A document with its vectors: float32, unit or not, one an embedding in configuration order."""

    document: Document
    vectors: tuple[Vector | None, ...]
    scores: tuple[Scores | None, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """What is sent, looked for and settled together. `id` is derived from the data, never from the clock."""

    id: str
    rows: tuple[Embedded, ...]  # all written in the same way
    covers: tuple[Position, ...] = ()
    way: Way = "create"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that a batch is stored. Made by `target.delivery` alone; `state` advances on nothing else."""

    batch: Batch
    record_ids: Mapping[str, str] = field(repr=False)  # key -> RushDB record id
