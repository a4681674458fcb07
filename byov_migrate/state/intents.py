"""What is kept of a batch before its first byte is sent, so that a later run can prove it or take it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from byov_migrate.records import Embedded, Refs, Way

LATE_UNTIL = "late_until"
"""Name of the fact that says until when a lost request about settled vectors may be running, seconds since 1970."""


@dataclass(frozen=True, slots=True)
class IntentRow:
    """What an unproved batch holds of one row: enough to prove it later without the row itself.

    hash: of its record, empty when that is not written and only a vector is attached.
    """

    key: str
    hash: str
    vectors: Mapping[str, tuple[str, tuple[float, float, float]]]  # property -> text hash, probe scores
    refs: Refs


@dataclass(frozen=True, slots=True)
class Intent:
    """A batch that was about to be sent at `sent_at` (seconds since 1970) and is not proved yet."""

    batch: str
    sent_at: float
    rows: tuple[IntentRow, ...]

    @property
    def attaches(self) -> bool:
        """Whether no record is written."""
        return all(not row.hash for row in self.rows)


def packed_row(item: Embedded, properties: Sequence[str], way: Way) -> list[Any]:
    """A row of an intent as JSON values; properties: what carries its vectors, in order."""
    document = item.document
    marks = zip(properties, document.text_hashes, item.scores, strict=True)
    vectors = {name: [text, score] for name, text, score in marks if score is not None}
    return [document.key, "" if way == "attach" else document.hash, vectors, dict(document.refs)]


def unpacked_rows(stored: bytes) -> tuple[IntentRow, ...]:
    """The rows of an intent."""
    return tuple(
        IntentRow(
            key,
            hashed,
            {name: (text, tuple(score)) for name, (text, score) in vectors.items()},
            {kind: tuple(keys) for refs in more for kind, keys in refs.items()},  # none in batches of earlier versions
        )
        for key, hashed, vectors, *more in orjson.loads(stored)
    )
