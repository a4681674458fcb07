"""What a comparison is made of: a row, a record, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from byov_migrate.records import KeyText, Scores

Kind: TypeAlias = Literal["missing", "extra", "doubled", "values", "vectors", "links", "text"]
KINDS: tuple[Kind, ...] = ("missing", "extra", "doubled", "values", "vectors", "links", "text")

Scored: TypeAlias = tuple[str, str, tuple[float | None, ...]]
"""Key, record id, and the scores against the three probes; None where a search did not find the record."""


UNSAID = "*"


# Named tuples, since there are as many as rows: a frozen class takes four times as long to make.
class Side(NamedTuple):
    """A row's or a record's share in one embedding.

    mark: `byovText_P`, None without text, UNSAID where a record's is not of these vectors.
    scores, of rows: against the probes, None where they are not known from here.
    carriers: whether the properties that carry the vector are all there (1), none (0), or some (2); of rows: should be.
    """

    mark: str | None
    scores: Scores | None = None
    carriers: int = 0
    spoken: tuple[str, ...] = ()
    sent: str | None = None


class SourceRow(NamedTuple):
    """One row: `hash` of what leaves of it, `reject` the code when it cannot be sent; a side an embedding."""

    key: str
    slice: str
    position: KeyText
    hash: str
    reject: str | None
    sides: tuple[Side, ...]


class TargetRecord(NamedTuple):
    """One record. stored: its `byovHash`. computed: the hash of what it holds. odd: properties of ours that are off.

    slice: its `byovSlice`, "" without one. unknown: names that nobody wrote and nobody allowed.
    """

    record_id: str
    key: str
    slice: str
    stored: str | None
    computed: str
    batch: str | None
    odd: tuple[str, ...]
    unknown: tuple[str, ...]
    sides: tuple[Side, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. `what` names properties, never values. is_behind: the next sync takes care of it."""

    kind: Kind
    key: str
    what: str
    is_behind: bool = False
