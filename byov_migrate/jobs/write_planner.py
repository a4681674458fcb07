"""Rows as read against what is stored: the unchanged ones are dropped, the others are told how they are written.

    no record, or the record is gone from RushDB                      create
    as the row says, and a vector is still to come                    attach: nothing is written but the vector
    other values, no vector to replace, nothing to clear, keys unique append: the record keeps its vectors
    anything else                                                     rewrite: erased and written anew, under its id

A rewrite erases vectors. What its text has not changed for is attached again: from PostgreSQL where it holds the
vectors, from the cache where there is one, else it is embedded again and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from byov_migrate.jobs.documents import leaving
from byov_migrate.jobs.table_work import TableWork
from byov_migrate.records import Known, Page, Rejected, Row, Vector
from byov_migrate.state import State
from byov_migrate.state.scope import Applying
from byov_migrate.target.wire import Stored

Fetch = Callable[[Sequence[str]], Mapping[str, Stored]]
"""Record ids -> the records that RushDB holds of them."""


@dataclass
class Tally:
    """What rows turned out to be.

    texts_again: texts that have not changed and have to be embedded again, because rewriting a record erases its
    vector and nothing here holds it.
    """

    unchanged: int = 0
    created: int = 0
    attached: int = 0
    appended: int = 0
    rewritten: int = 0
    texts_again: int = 0

    @property
    def changed(self) -> int:
        """Rows to be written."""
        return self.created + self.attached + self.appended + self.rewritten


@dataclass(frozen=True)
class _Changed:
    row: Row
    hash: str
    marks: tuple[str | None, ...]
    known: Known


class WritePlanner:
    """Decides for the rows of one table. Use once.

    unique: whether RushDB keeps `byovKey` unique, so that records can be appended to; asked when it matters.
    vectors_only: leave everything else alone than rows that lack a vector and are stored as they are otherwise.
    tally: what was decided. mended: keys of rejected rows that have become what their records hold.
    """

    def __init__(
        self, work: TableWork, state: State, fetch: Fetch, unique: Callable[[], bool], *, vectors_only: bool = False
    ) -> None:
        self._work = work
        self._state = state
        self._fetch = fetch
        self._unique = unique
        self._vectors_only = vectors_only
        names = frozenset(item.property_name for item in leaving(work.table, work.composer.links))
        self._applying = state.scope.applying(work.table.name) or Applying(())
        self._names = (names | self._applying.gone) - {"byovBatch"}  # every write has its own
        self._carriers = [name for item in work.table.embeddings for name in (item.property_name, item.spare_property)]
        self._rejected = {row["key"] for row in state.ledger.rejects(work.table.name)}
        self.tally = Tally()
        self.mended: list[str] = []

    def pages(self, pages: Iterable[Page]) -> Iterator[Page]:
        """Each page, with the rows that have to be written."""
        for page in pages:
            yield self.page(page)

    def page(self, page: Page) -> Page:
        """One page; rejected rows pass, as they may be rejected now and stored from before."""
        rows = [row for row in page.rows if isinstance(row, Row)]
        known = self._state.ledger.known(self._work.table.name, [row.key for row in rows], self._work.properties)
        new = [] if self._vectors_only else [row for row in rows if row.key not in known]
        stored = (
            self._fetch([record.record_id for record in known.values()]) if known and self._applying.looks else None
        )
        changed = [item for row in rows if row.key in known and (item := self._compared(row, known[row.key], stored))]
        if self._vectors_only:
            changed = [item for item in changed if self._lacks_only_vectors(item)]
        self.tally.created += len(new)
        self.tally.unchanged += len(rows) - len(new) - len(changed)
        rejected = [row for row in page.rows if isinstance(row, Rejected)]
        if self._rejected:
            self.mended += self._rejected & (known.keys() - {item.row.key for item in changed})
        return Page((*new, *self._over_records(changed, stored), *rejected), page.position)

    def _compared(self, row: Row, known: Known, stored: Mapping[str, Stored] | None) -> _Changed | None:
        """None for a row that is what its record says. stored: the records, where hashes do not tell everything."""
        record_hash, marks = self._work.composer.hashes(row)
        same = (record_hash, marks, row.refs) == (known.hash, known.text_hashes, known.refs)
        same = same and not _says_other_text(known, marks)
        if same and stored is not None and (record := stored.get(known.record_id)):
            same = self._has_the_form(row, record)
        return None if same else _Changed(row, record_hash, marks, known)

    def _has_the_form(self, row: Row, record: Stored) -> bool:
        """Whether a record holds nothing that left the configuration, and carries its vectors as it says now."""
        wanted, held = self._work.composer.document(row).properties, record.properties
        carried = all(held.get(name) == wanted.get(name) for name in self._carriers)
        return carried and not self._applying.gone & held.keys()

    def _over_records(self, changed: Sequence[_Changed], stored: Mapping[str, Stored] | None) -> list[Row]:
        """Rows whose records are known; one that is gone from RushDB is made anew."""
        if not changed:
            return []
        if stored is None:
            stored = self._fetch([item.known.record_id for item in changed])
        present = [item for item in changed if item.known.record_id in stored]
        gone = [item.row for item in changed if item.known.record_id not in stored]
        self.tally.created += len(gone)
        cached = self._cached(present)
        return gone + [self._over(item, stored[item.known.record_id], cached) for item in present]

    def _over(self, item: _Changed, record: Stored, cached: Sequence[Mapping[str, Vector]]) -> Row:
        if self._may_attach(item, record):
            self.tally.attached += 1
            vectors = tuple(column.get(item.row.key) for column in cached)
            return replace(item.row, way="attach", known=item.known, cached=vectors)
        known = replace(item.known, batch=str(record.properties.get("byovBatch", "")))
        if self._may_append(item, record) and self._unique():
            self.tally.appended += 1
            return replace(item.row, way="append", known=known)
        self.tally.rewritten += 1
        vectors = tuple(column.get(item.row.key) for column in cached)
        self.tally.texts_again += self._texts_again(item, vectors)
        may_stay = set(self._work.table.keep_properties) - self._applying.gone
        kept = {name: value for name, value in record.properties.items() if name in may_stay}
        return replace(item.row, way="rewrite", known=replace(known, kept=kept), cached=vectors)

    def _may_attach(self, item: _Changed, record: Stored) -> bool:
        """Whether all that is missing is a vector, and the record has the property that is to carry it."""
        marks = zip(self._work.properties, item.marks, item.known.text_hashes, strict=True)
        carried = all(name in record.properties for name, now, before in marks if now != before)
        has_form = not self._applying.looks or self._has_the_form(item.row, record)
        return carried and has_form and self._lacks_only_vectors(item)

    def _lacks_only_vectors(self, item: _Changed) -> bool:
        """Whether vectors are to come where none was, and nothing else is to be written."""
        marks = zip(item.marks, item.known.text_hashes, strict=True)
        coming = [before is None for now, before in marks if now != before]
        same = (item.hash, item.row.refs) == (item.known.hash, item.known.refs)
        return same and bool(coming) and all(coming) and not _says_other_text(item.known, item.marks)

    def _may_append(self, item: _Changed, record: Stored) -> bool:
        """Whether nothing has to disappear: neither a vector nor a property. A vector may come where none was."""
        marks = zip(item.marks, item.known.text_hashes, strict=True)
        if not item.known.hash or any(before is not None and now != before for now, before in marks):
            return False
        if _says_other_text(item.known, item.marks):
            return False
        now = self._work.composer.document(item.row).properties
        return not (self._names & record.properties.keys()) - now.keys()

    def _cached(self, changed: Sequence[_Changed]) -> list[dict[str, Vector]]:
        """For each embedding, key -> vector of a content that is in the cache."""
        name = self._work.table.name
        wanted = [
            {item.row.key: mark for item in changed if (mark := item.marks[number]) is not None}
            for number in range(len(self._work.properties))
        ]
        found = zip(self._work.properties, wanted, strict=True)
        return [self._state.cache.vectors(name, property_name, marks) for property_name, marks in found]

    def _texts_again(self, item: _Changed, vectors: Sequence[Vector | None]) -> int:
        marks = zip(item.row.contents, item.marks, item.known.text_hashes, vectors, strict=True)
        return sum(isinstance(text, str) and now == before and vector is None for text, now, before, vector in marks)


def _says_other_text(known: Known, marks: Sequence[str | None]) -> bool:
    """Whether a record was made of another text, whose vector is lost: where none is stored, none can differ."""
    return any(old is not None and old != now for old, now in zip(known.lost, marks, strict=False))
