"""The seam: what we ask of a RushDB, whichever protocol it speaks.

REST (`rest.py`) is the first client. The v3 engine names an index where REST finds it by property and size, calls it by
name where REST has an id, and rewrites dates; `Index` carries both and `canonical` is where a wire says what it
rewrites, so a second client changes nothing above this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from byov_migrate.records import LinkEnd, Outgoing, Vector

Where: TypeAlias = Mapping[str, Any]
"""A RushDB `where` document."""

ServerKind: TypeAlias = Literal["platform", "cloud", "sandbox"]


@dataclass(frozen=True, slots=True)
class Server:
    """What answers at the URL. `request_budget_s`: how long a request may go on after the client has left, if told."""

    kind: ServerKind
    key_level: str
    request_budget_s: float | None


@dataclass(frozen=True, slots=True)
class Index:
    """An external vector index. `project` identifies the target, whatever its URL or key."""

    id: str
    label: str
    property_name: str
    dimension: int
    similarity: str
    project: str


@dataclass(frozen=True, slots=True)
class Outbound:
    """One record to create: its properties, and with inline writing its vectors by property."""

    key: str
    properties: Mapping[str, Outgoing]
    vectors: Mapping[str, Vector] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as RushDB returns it. `score` is set by vector searches only, (1 + cosine) / 2."""

    record_id: str
    key: str
    properties: Mapping[str, Any]
    score: float | None = None


@dataclass(frozen=True, slots=True)
class LinkPlace:
    """Links of one type between two labels. Sources hold keys of targets in `ref_property`, where they are joined."""

    type: str
    source: str
    target: str
    ref_property: str


@dataclass(frozen=True, slots=True)
class StoredLink:
    """A link as RushDB lists it; ids are those of its ends."""

    source: str
    target: str
    source_label: str
    target_label: str
    properties: Mapping[str, Any]


class Wire(Protocol):
    """One RushDB project. Every call may raise the errors of `faults.py`; none of them retries."""

    @property
    def bytes_sent(self) -> int:
        """Bytes of request bodies so far."""

    @property
    def requests_sent(self) -> int:
        """Requests so far."""

    def server(self) -> Server:
        """Ask what answers, and whether the key is accepted."""

    def indexes(self) -> list[Index]:
        """The external vector indexes of the project."""

    def create_index(self, label: str, property_name: str, dimension: int, similarity: str) -> Index:
        """Create an external index, or return the one that exists."""

    def delete_index(self, index: Index) -> None:
        """Delete an index and see that it is listed no more; one that is gone already is fine."""

    def count_vectors(self, index: Index) -> int:
        """How many records of the index's label carry a vector."""

    def create(self, label: str, rows: Sequence[Outbound]) -> dict[str, str]:
        """Create records in one transaction; key -> record id of those the answer names."""

    def merge(self, label: str, rows: Sequence[Outbound], *, clear: bool) -> dict[str, str]:
        """Write over the records with these keys in one transaction; key -> record id. A missing one is created.

        clear: what is not sent disappears, and the vectors with it; otherwise both stay. Without a uniqueness
        constraint on `byovKey` two of these at once may create a record twice.
        """

    def replace(self, label: str, record_id: str, properties: Mapping[str, Outgoing]) -> bool:
        """Replace all properties of a record. Keeps its id and links, erases its vectors. False: no such record."""

    def attach(self, index: Index, vectors: Mapping[str, Vector]) -> None:
        """Attach or overwrite vectors by record id, all or none. Unknown ids are refused."""

    def delete(self, label: str, record_ids: Sequence[str]) -> None:
        """Delete records by id, in portions."""

    def find(self, label: str, where: Where, *, limit: int, skip: int = 0) -> tuple[list[Stored], int]:
        """A page of matching records (at most 1,000) and the number of all matches."""

    def count_by(self, label: str, property_name: str, values: Sequence[str]) -> dict[str, int]:
        """Records of the label for each value; values without a record are absent. At most 500 values."""

    def search(self, index: Index, vector: Vector, *, where: Where | None, limit: int, skip: int = 0) -> list[Stored]:
        """The nearest records, best first. With any `where` exact, without one approximate and perhaps too few."""

    def join(self, place: LinkPlace, *, sources: Where, targets: Where) -> None:
        """Link each of these sources to the targets whose `byovKey` it holds; links that are there stay."""

    def part(self, place: LinkPlace, *, sources: Where) -> None:
        """Remove the links of these sources to the targets whose `byovKey` they hold now."""

    def link(self, place: LinkPlace, hub: str, others: Sequence[str], *, hub_is: LinkEnd) -> None:
        """Link one record, which is the source or the target of all these links, to others, by ids.

        Unknown ids are passed over. A link of this type that leads back is removed.
        """

    def link_every(
        self, place: LinkPlace, sources: Sequence[str], targets: Sequence[str], properties: Mapping[str, Outgoing]
    ) -> None:
        """Link every source to every target, by ids, but none to itself. Unknown ids are passed over.

        Unlike `link` and `link_with` it leaves links that lead back, and properties of other names. The labels are gone
        through: seconds where they are large.
        """

    def link_with(self, place: LinkPlace, source: str, target: str, properties: Mapping[str, Outgoing]) -> None:
        """Link two records by ids, with these properties in place of earlier ones. What leads back is removed."""

    def unlink(self, place: LinkPlace, source: str, targets: Sequence[str]) -> None:
        """Remove links from one source to targets, by ids."""

    def links(self, kind: str, *, limit: int, skip: int = 0) -> tuple[list[StoredLink], int]:
        """A page of the links of a type (at most 1,000), whatever their labels, and the number of all."""

    def canonical(self, value: Outgoing) -> Outgoing:
        """The value as this wire gives it back."""

    def close(self) -> None:
        """Close connections."""
