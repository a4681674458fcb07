"""Links made and removed, and the proof of either: an answer says nothing, a join that meets nothing succeeds too.

As sets where the records carry the key of the other end: one request for tens of thousands. By record ids otherwise.
Both may be repeated: a link that is there stays one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from byov_migrate.errors import Ambiguous, DifferencesFound
from byov_migrate.records import LinkEnd, Outgoing
from byov_migrate.target.asking import Asker
from byov_migrate.target.wire import LinkPlace, Where, Wire

IDS = 1000


TIMES = 3
"""How often a join is made whose links are not there afterwards."""


@dataclass(frozen=True, slots=True)
class _Proof:
    """At least so many records of a label fulfil a `where` once links are made."""

    label: str
    where: Where
    records: int


class Linker:
    """Makes and removes the links of all labels of one project."""

    def __init__(self, wire: Wire, asker: Asker) -> None:
        self._wire = wire
        self._asker = asker
        self._lost_until: float | None = None

    def _repeat(self, action: Callable[[], None]) -> None:
        """An action that may be repeated. A lost one may still be running, and would act on what is there by then."""
        self._asker.repeat(action, self._note_loss)

    def _note_loss(self) -> None:
        self._lost_until = self._asker.deadline()

    def outlast(self) -> None:
        """Wait until no request whose answer was lost can be running: before records change, and at the end."""
        if self._lost_until is not None:
            self._asker.wait_until(self._lost_until, "a request about links may still be running; waiting for its end")
            self._lost_until = None

    def join(self, place: LinkPlace, *, batches: Sequence[str], linked: int) -> None:
        """Link the records of these batches by the keys that they hold. linked: how many of them then have a link.

        Raise TooLarge when the server cannot do it in its time, DifferencesFound when links are not kept.
        """
        sources = {"byovBatch": {"$in": list(batches)}}
        make = partial(self._wire.join, place, sources=sources, targets={})
        self._make(make, place.type, _Proof(place.source, {**sources, **_out(place)}, linked))

    def join_to(self, place: LinkPlace, *, targets: Sequence[str], linked: int) -> None:
        """Link all records that hold these keys to the records that have them. linked: how many then lead to one.

        Errors as `join`.
        """
        keys = {"byovKey": {"$in": list(targets)}}
        leading = {place.target: {**keys, "$relation": {"type": place.type, "direction": "out"}}}
        make = partial(self._wire.join, place, sources={}, targets=keys)
        self._make(make, place.type, _Proof(place.source, leading, linked))

    def _make(self, make: Callable[[], None], kind: str, proof: _Proof) -> None:
        """Make links until the proof holds."""
        found = 0
        for _ in range(TIMES):
            self._repeat(make)
            found = self._asker.ask(lambda: self._count(proof.label, proof.where))
            if found >= proof.records:
                return
        raise DifferencesFound(
            f"RushDB links {found:,} records of {proof.label} by {kind}, and {proof.records:,} should be",
            next_step="byov-migrate verify",
        )

    def part(self, place: LinkPlace, record_ids: Sequence[str]) -> None:
        """Remove every link of this type that leads from these records to the label, and see that none is left.

        The records still hold the keys that they were linked by: to be called before they are written over.
        """
        for start in range(0, len(record_ids), IDS):
            some = list(record_ids[start : start + IDS])
            self._repeat(partial(self._part, place, some))
        self.outlast()

    def _part(self, place: LinkPlace, record_ids: Sequence[str]) -> None:
        these = {"$id": {"$in": list(record_ids)}}
        left = {**these, **_out(place)}
        if not self._count(place.source, left):
            return
        self._wire.part(place, sources=these)
        if not self._count(place.source, left):
            return
        found, _ = self._wire.find(place.source, left, limit=IDS)  # linked by other keys than they hold
        for record in found:
            self._wire.unlink(place, record.record_id, self._targets_of(place, record.record_id))
        if still := self._count(place.source, left):
            raise Ambiguous(f"RushDB keeps links of {still:,} records by {place.type} that it was to remove")

    def _targets_of(self, place: LinkPlace, record_id: str) -> list[str]:
        """Ids of the records that one record is linked to."""
        back = {place.source: {"$id": {"$in": [record_id]}, "$relation": {"type": place.type, "direction": "in"}}}
        found, _ = self._wire.find(place.target, back, limit=IDS)
        return [record.record_id for record in found]

    def _count(self, label: str, where: Where) -> int:
        return self._wire.find(label, where, limit=1)[1]

    def link(self, place: LinkPlace, hub: str, others: Sequence[str], *, hub_is: LinkEnd, mutual: bool = False) -> None:
        """Link one record to at most 1,000 others by their ids, and see that they are.

        mutual: there are links that lead back, and they have to stay. Raise DifferencesFound when links are not kept.
        """
        sources, targets = ([hub], others) if hub_is == "source" else (others, [hub])
        if mutual:
            make = partial(self._wire.link_every, place, sources, targets, {})
        else:
            make = partial(self._wire.link, place, hub, others, hub_is=hub_is)
        self._by_ids(place, sources, targets, make)

    def link_with(
        self, place: LinkPlace, source: str, target: str, properties: Mapping[str, Outgoing], *, mutual: bool = False
    ) -> None:
        """Link two records by their ids, with properties, and see that they are. Raise as `link`."""
        if mutual:
            self.unlink(place, source, [target])  # or properties that it has no longer would stay
            make = partial(self._wire.link_every, place, [source], [target], properties)
        else:
            make = partial(self._wire.link_with, place, source, target, properties)
        self._by_ids(place, [source], [target], make)

    def _by_ids(
        self, place: LinkPlace, sources: Sequence[str], targets: Sequence[str], make: Callable[[], None]
    ) -> None:
        """One of the ends is a single record: the records at the other one are counted, since each counts once."""
        if len(targets) == 1:
            proof = _Proof(place.source, _between(place, sources, targets), len(sources))
        else:
            proof = _Proof(place.target, _reached(place, sources, targets), len(targets))
        self._make(make, place.type, proof)

    def unlink(self, place: LinkPlace, source: str, targets: Sequence[str]) -> None:
        """Remove links by the ids of their ends, and see that they are gone."""
        for start in range(0, len(targets), IDS):
            some = list(targets[start : start + IDS])
            self._repeat(partial(self._unlink, place, source, some))
        self.outlast()

    def _unlink(self, place: LinkPlace, source: str, targets: Sequence[str]) -> None:
        self._wire.unlink(place, source, targets)
        if self._count(place.source, _between(place, [source], targets)):
            raise Ambiguous(f"RushDB keeps links by {place.type} that it was to remove")


def _out(place: LinkPlace) -> Where:
    return {place.target: {"$relation": {"type": place.type, "direction": "out"}}}


def _between(place: LinkPlace, sources: Sequence[str], targets: Sequence[str]) -> Where:
    """Those of these sources that lead to one of these targets, by ids."""
    relation = {"type": place.type, "direction": "out"}
    return {"$id": {"$in": list(sources)}, place.target: {"$id": {"$in": list(targets)}, "$relation": relation}}


def _reached(place: LinkPlace, sources: Sequence[str], targets: Sequence[str]) -> Where:
    """Those of these targets to which one of these sources leads, by ids."""
    relation = {"type": place.type, "direction": "in"}
    return {"$id": {"$in": list(targets)}, place.source: {"$id": {"$in": list(sources)}, "$relation": relation}}
