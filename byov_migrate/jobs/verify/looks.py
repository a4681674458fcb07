"""A fresh look at a few keys: their rows by key, their records by key, their vectors by exact searches.

Here both are in hand as they are, so that the columns that differ can be named, and what is withheld be looked for in
everything that arrived.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from byov_migrate.jobs.ranges import again_and_again
from byov_migrate.jobs.verify.reading_sides import RecordSink
from byov_migrate.jobs.verify.subject import UNHASHABLE, Subject
from byov_migrate.jobs.verify.words import runs, shows
from byov_migrate.records import KeyText, Row
from byov_migrate.state.comparison import Comparison, Difference, Kind, TableComparison
from byov_migrate.target.listing import Lister
from byov_migrate.target.wire import Stored

KEYS_AT_ONCE = 1000


@dataclass(frozen=True)
class Looked:
    """What a look found. `evidence`: key -> all that was read of it, as a text to be compared."""

    differences: list[Difference]
    evidence: Mapping[str, str]


@dataclass
class _Names:
    """What a look at rows and records themselves adds: key -> columns that differ, properties in which a text shows."""

    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shows: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Looker:
    """Looks at keys of one table. positions: of keys that the source held; others are found by their key."""

    subject: Subject
    number: int
    listing: Lister
    kinds: Collection[Kind]

    def look(
        self, positions: Mapping[str, KeyText | None], changed: Collection[str] | None, evidence_of: Collection[str]
    ) -> Looked:
        """Look at these keys. changed: see `TableComparison.differences`."""
        subject, keys = self.subject, list(positions)
        names = _Names()
        with Comparison.passing(subject.ends.state.store.path) as passing:
            comparison = passing.at(self.number, subject.table.name, subject.properties)
            for start in range(0, len(keys), KEYS_AT_ONCE):
                some = keys[start : start + KEYS_AT_ONCE]
                self._read({key: positions[key] for key in some}, comparison, names)
            wanted = set(keys)
            found = [item for item in comparison.differences(self.kinds, changed=changed) if item.key in wanted]
            evidence = {key: comparison.evidence(key) for key in evidence_of}
        return Looked(list(self._named(found, names)), evidence)

    def _read(self, positions: Mapping[str, KeyText | None], comparison: TableComparison, names: _Names) -> None:
        subject, records = self.subject, dict[str, list[Stored]]()
        known = [position for position in positions.values() if position is not None]
        rows = again_and_again(partial(subject.reader.rows, known), subject.ends.patience)
        texts = self._texts(known)

        def meet(record: Stored) -> None:
            records.setdefault(record.key, []).append(record)

        comparison.add_rows(subject.source_rows(rows))
        self.listing.read_keys(list(positions), RecordSink(subject, comparison, meet))
        for row in rows:
            held = [record.properties for record in records.get(row.key, ())]
            columns = _columns_that_differ(subject, row, held) if isinstance(row, Row) else ()
            names.columns[row.key] = columns
            names.shows[row.key] = self._where_it_shows(columns, held, texts.get(row.key, ()))

    def _texts(self, positions: Sequence[KeyText]) -> dict[str, tuple[str | None, ...]]:
        if "text" not in self.kinds or not positions or not any(map(self._is_withheld, range(len(self.subject.plans)))):
            return {}
        return again_and_again(partial(self.subject.reader.texts, positions), self.subject.ends.patience)

    def _is_withheld(self, number: int) -> bool:
        embedding = self.subject.plans[number].config
        return embedding.text is not None and not embedding.send_text

    def _where_it_shows(
        self, columns: Collection[str], held: Sequence[Mapping[str, Any]], texts: Sequence[str | None]
    ) -> tuple[str, ...]:
        """Properties in which withheld text shows, but for columns that are what their source is: those are sent."""
        withheld = {run for n, text in enumerate(texts) if text and self._is_withheld(n) for run in runs(text)}
        as_sent = self.subject.columns - set(columns)
        names = {
            name
            for properties in held
            for name, value in properties.items()
            if name not in as_sent and shows(withheld, value)
        }
        return tuple(sorted(names))

    def _named(self, found: Sequence[Difference], names: _Names) -> Iterator[Difference]:
        for item in found:
            columns = ", ".join(names.columns.get(item.key, ()))
            if item.kind == "values" and columns:
                words = [columns if word == "columns" else word for word in item.what.split(", ")]
                yield Difference(item.kind, item.key, ", ".join(words), item.is_behind)
            else:
                yield item
        if "text" in self.kinds:
            for key, shown in names.shows.items():
                if shown:
                    yield Difference("text", key, f"8 words of what is withheld stand in: {', '.join(shown)}")


def _columns_that_differ(subject: Subject, row: Row, held: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Properties in which some record of the key is not as the row."""
    wanted = subject.canonical(row).properties
    digest = partial(_digest, subject)
    expected = {name: digest(wanted[name]) if name in wanted else None for name in subject.columns}
    return tuple(
        name
        for name in sorted(subject.columns)
        if any((digest(record[name]) if name in record else None) != expected[name] for record in held)
    )


def _digest(subject: Subject, value: Any) -> str:
    """Equal exactly when type and value are, as a record's hash has it."""
    try:
        return subject.ends.digests.record_hash({"value": subject.ends.wire.canonical(value)})
    except (TypeError, ValueError, OverflowError):
        return UNHASHABLE
