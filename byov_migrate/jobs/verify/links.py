"""Links under proof: every one that RushDB lists against every one that the source implies.

A first look over all of them finds suspects; each is looked at again, and counts once two looks in a row saw exactly
the same on both sides and the next sync would not take care of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from byov_migrate.errors import Interrupted
from byov_migrate.jobs.ranges import again_and_again, whole_table
from byov_migrate.jobs.reading import Reading
from byov_migrate.jobs.verify.coming import coming_keys
from byov_migrate.jobs.verify.subject import Subject
from byov_migrate.records import KeyText, Rejected, Row
from byov_migrate.source import LinkShape, Paired, PairReader
from byov_migrate.state.comparison import Difference
from byov_migrate.state.link_comparison import LinkComparison
from byov_migrate.state.store import portions
from byov_migrate.target.retry import Patience
from byov_migrate.target.wire import Stored, StoredLink

PAGE_LINKS = 1000
KEYS_AT_ONCE = 500
LOOKED_AT = 10_000
LOOKS = 4
PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class _Seen:
    """All that a look saw of one key: target key -> mark on either side, and the keys that its records hold."""

    implied: Mapping[str, str]
    held: tuple[frozenset[str], ...]  # one a record
    standing: tuple[tuple[str, str], ...]  # with repetitions
    there: frozenset[str]  # those implied that are records


@dataclass
class LinkVerdict:
    """What differs. links: how many the source implies. unlooked: keys that were seen only once."""

    links: int = 0
    found: list[Difference] = field(default_factory=list)
    behind: int = 0
    unlooked: int = 0


@dataclass(frozen=True)
class LinkProof:
    """Proves one link. source, target: the tables at its ends, read before."""

    link: LinkShape
    source: Subject
    target: Subject
    comparison: LinkComparison

    @property
    def _ends(self) -> Reading:
        return self.source.ends

    def take_rows(self, rows: Sequence[Row | Rejected]) -> None:
        """Rows of the source as they are read."""
        if self.link.is_carried:
            self.comparison.add_implied(
                (row.key, key, "") for row in rows if isinstance(row, Row) for key in row.refs.get(self.link.type, ())
            )

    def take_record(self, record: Stored) -> None:
        """A record of the source's label as it is read."""
        if self.link.is_carried:
            self.comparison.add_held((record.record_id, key) for key in self._held(record))

    def _held(self, record: Stored) -> frozenset[str]:
        held = record.properties.get(self.link.ref_property)
        values = held if isinstance(held, list) else [] if held is None else [held]
        return frozenset(map(str, values))

    def prove(self) -> LinkVerdict:
        """Compare all links, after both tables were read. Raise Interrupted after a stop."""
        self.comparison.forget_lists()
        if isinstance(self.link.way, Paired):
            again_and_again(self._read_pairs, self._ends.patience)
        for page in self.listed():
            self.comparison.add_standing((item.source, item.target, self._mark(item)) for item in page)
        suspects = [key for key, _ in zip(self.comparison.suspects(), range(LOOKED_AT + 1), strict=False)]
        verdict = LinkVerdict(self.comparison.count())
        verdict.unlooked = max(len(suspects) - LOOKED_AT, 0)
        if suspects:
            self._look_again(suspects[:LOOKED_AT], verdict)
        return verdict

    def _read_pairs(self) -> None:
        self.comparison.add_implied((pair.source, pair.target, pair.mark) for pair in self._pairs().pairs())

    def _pairs(self) -> PairReader:
        if not isinstance(self.link.way, Paired):
            raise TypeError("rows carry this link")
        return PairReader(self._ends.session, self.link, self.link.way, self._ends.digests)

    def listed(self) -> Iterator[list[StoredLink]]:
        """The links of this type between these labels, page by page. Pages may shift under writers: see `prove`."""
        labels = (self.link.source.entry.label, self.link.target.entry.label)
        skip, total = 0, 1
        while skip < total:
            page, total = self._ends.patience.retry(
                partial(self._ends.wire.links, self.link.type, limit=PAGE_LINKS, skip=skip)
            )
            yield [item for item in page if (item.source_label, item.target_label) == labels]
            skip += PAGE_LINKS

    def _mark(self, item: StoredLink) -> str:
        """Of the properties that a join table gives; others belong to an application."""
        way = self.link.way
        names = [column.name for column in way.properties] if isinstance(way, Paired) else []
        held = {name: item.properties[name] for name in names if name in item.properties}
        return self._ends.digests.record_hash(held) if held else ""

    def _look_again(self, keys: Sequence[str], verdict: LinkVerdict) -> None:
        before: dict[str, _Seen] = {}
        left = list(keys)
        for number in range(LOOKS):
            if number and self._ends.patience.sleep(PAUSE_S):
                raise Interrupted
            coming = self._coming(left)
            seen = self._look(left)
            wrong = {key: what for key in left if (what := self._what(seen[key]))}
            verdict.behind += len(coming & wrong.keys())
            steady = [key for key in wrong if key not in coming and before.get(key) == seen[key]]
            verdict.found += [Difference("links", key, wrong[key]) for key in steady]
            left = [key for key in wrong if key not in coming and key not in steady]
            before = {key: seen[key] for key in left}
            if not left:
                return
        verdict.behind += len(left)

    def _coming(self, keys: Sequence[str]) -> set[str]:
        """Those of these keys whose links the next sync takes care of."""
        if isinstance(self.link.way, Paired):
            now = again_and_again(self._pairs().sum, self._ends.patience)
            known = self._ends.state.links.pair_sum(self.link.name)
            return set(keys) if known != (now.pairs, now.checksum) else set()
        with coming_keys(self.source) as coming:
            return set() if coming is None else set(coming) & set(keys)

    def _look(self, keys: Sequence[str]) -> dict[str, _Seen]:
        implied = self._implied_now(keys)
        records = self._records(self.source, keys)
        ids = {record.record_id: key for key, found in records.items() for record in found}
        standing: dict[str, list[tuple[str, str]]] = {}
        for page in self.listed():
            for item in page:
                if item.source in ids:
                    standing.setdefault(ids[item.source], []).append((item.target, self._mark(item)))
        wanted = sorted({key for targets in implied.values() for key in targets})
        there = {record.record_id: key for key, found in self._records(self.target, wanted).items() for record in found}
        present = frozenset(there.values())
        return {
            key: _Seen(
                implied.get(key, {}),
                tuple(self._held(record) for record in records.get(key, ())),
                tuple(sorted((there.get(target, target), mark) for target, mark in standing.get(key, ()))),
                present & implied.get(key, {}).keys(),
            )
            for key in keys
        }

    def _what(self, seen: _Seen) -> str | None:
        """What is wrong with a key, in words; None when nothing is. Without a record there is nothing to link."""
        if not seen.held:
            return None
        expected = {(target, mark) for target, mark in seen.implied.items() if target in seen.there}
        parts = []
        if missing := {target for target, _ in expected} - {target for target, _ in seen.standing}:
            parts.append(f"{self.link.type} to {_some(missing)} missing")
        if extra := {target for target, _ in seen.standing} - {target for target, _ in expected}:
            parts.append(f"{self.link.type} to {_some(extra)} too many")
        if not parts and set(seen.standing) != expected:
            parts.append(f"{self.link.type} has other properties")
        if self.link.is_carried and any(held != seen.implied.keys() for held in seen.held):
            parts.append(f"{self.link.ref_property} differs")
        return ", ".join(parts) or None

    def _implied_now(self, keys: Sequence[str]) -> dict[str, dict[str, str]]:
        implied: dict[str, dict[str, str]] = {}
        if isinstance(self.link.way, Paired):
            wanted = set(keys)
            pairs = again_and_again(
                lambda: [one for one in self._pairs().pairs() if one.source in wanted], self._patience
            )
            for pair in pairs:
                implied.setdefault(pair.source, {})[pair.target] = pair.mark
            return implied
        reader = self.source.reader
        if self.source.table.hash_key_values:
            wanted = set(keys)
            pages = whole_table(reader, PAGE_LINKS, self._patience)
            rows = [row for page in pages for row in page.rows if isinstance(row, Row) and row.key in wanted]
            return {row.key: dict.fromkeys(row.refs.get(self.link.type, ()), "") for row in rows}
        positions: list[KeyText] = [found for key in keys if (found := reader.position_of(key)) is not None]
        for some in portions(positions, KEYS_AT_ONCE):
            for row in again_and_again(partial(reader.rows, some), self._patience):
                if isinstance(row, Row):
                    implied[row.key] = dict.fromkeys(row.refs.get(self.link.type, ()), "")
        return implied

    @property
    def _patience(self) -> Patience:
        return self._ends.patience

    def _records(self, subject: Subject, keys: Collection[str]) -> dict[str, list[Stored]]:
        found: dict[str, list[Stored]] = {}
        wire, label = self._ends.wire, subject.table.label
        for some in portions(keys, KEYS_AT_ONCE):
            page, _ = self._patience.retry(partial(wire.find, label, {"byovKey": {"$in": some}}, limit=1000))
            for record in page:
                found.setdefault(record.key, []).append(record)
        return found


def link_proofs(
    links: Sequence[LinkShape], subjects: Mapping[str, Subject], connection: sqlite3.Connection
) -> list[LinkProof]:
    """Every link, between its tables in the scratch file. subjects: by label, in the order of their numbers there."""
    numbers = {label: number for number, label in enumerate(subjects)}
    proofs = []
    for number, link in enumerate(links):
        source, target = link.source.entry.label, link.target.entry.label
        places = (numbers[source], numbers[target])
        comparison = LinkComparison(connection, number, *places, is_carried=link.is_carried)
        proofs.append(LinkProof(link, subjects[source], subjects[target], comparison))
    return proofs


def _some(keys: Collection[str]) -> str:
    shown = ", ".join(sorted(keys)[:3])
    return shown if len(keys) <= 3 else f"{shown} and {len(keys) - 3} more"
