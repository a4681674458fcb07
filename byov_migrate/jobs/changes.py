"""What has changed in the source since the last sync: rows to be read again, and records whose rows are gone.

Keys alone are read in the one snapshot that everything hangs on, so it is short whatever is done with them afterwards.
Rows are read later, by key: a newer version of a row is as good, since the next sync begins at the snapshot.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from byov_migrate.jobs.ranges import again_and_again
from byov_migrate.records import KeyText
from byov_migrate.source import Changes, Cursor, KeySum, Strategy, TableReader
from byov_migrate.state import State
from byov_migrate.state.cursors import Sweep, Synced
from byov_migrate.state.keysets import KeySets
from byov_migrate.target.retry import Patience

KEYS_AT_ONCE = 5000


@dataclass
class Findings:
    """What one look at the source found.

    changed: keys to be read again. gone: keys of records whose rows are not there any more, or are not selected any
    more. sweep: number and sum of all selected keys, when deletes were looked for.
    """

    changed: KeySets
    cursor: Cursor
    gone: list[str] = field(default_factory=list)
    sweep: Sweep | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.gone and not self.changed.count()


@dataclass(frozen=True)
class Surveyor:
    """Looks at one table's source, and asks the state what it accounts for. Writes nothing."""

    reader: TableReader
    state: State
    patience: Patience

    @contextlib.contextmanager
    def survey(
        self, since: Synced, strategy: Strategy | None, *, sweep: bool, follows: bool = True
    ) -> Iterator[Findings]:
        """Look once. strategy None: every row will be read anyway. sweep: look for deletes too.

        follows: whether the source goes on from `since`; not so after it went back and that was accepted.

        Raise Refused when the table is not what it was, PersonNeeded when rows are hidden.
        """
        with contextlib.ExitStack() as stack:

            def look() -> Findings:
                changed = stack.enter_context(KeySets(self.state.store.path))
                cursor = Cursor(**since.cursor) if follows else None
                with self.reader.changes(strategy, cursor) as changes:
                    findings = Findings(changed, changes.cursor)
                    if strategy is not None:
                        self._add_changed(changes, findings)
                    if sweep:
                        self._sweep(changes, since, findings)
                    return findings

            findings = again_and_again(look, self.patience)
            self._add_unsettled(findings)
            yield findings

    def _add_changed(self, changes: Changes, findings: Findings) -> None:
        unselected: list[str] = []

        def selected() -> Iterator[tuple[str, KeyText]]:
            for position, is_selected in changes.changed_keys():
                if is_selected:
                    yield self._key(position), position
                else:
                    unselected.append(self._key(position))
                    if len(unselected) >= KEYS_AT_ONCE:
                        self._add_gone(unselected, findings)

        findings.changed.add(selected())
        self._add_gone(unselected, findings)

    def _key(self, position: KeyText) -> str:
        return self.reader.rows_reader.key(position)

    def _add_gone(self, keys: list[str], findings: Findings) -> None:
        """Take over those that have a record, and empty the list."""
        findings.gone += sorted(self.state.ledger.known_keys(self._table, keys))
        keys.clear()

    @property
    def _table(self) -> str:
        return self.reader.table.name

    def _sweep(self, changes: Changes, since: Synced, findings: Findings) -> None:
        total = changes.key_sum()
        findings.sweep = Sweep(total.rows, total.checksum)
        if not self._accounts_for(total, since):
            self._compare_keys(changes, findings)

    def _accounts_for(self, total: KeySum, since: Synced) -> bool:
        """Whether the source's keys are those of the last sweep, and the state still accounts for just as many rows."""
        if (since.rows, since.checksum) != (total.rows, total.checksum):
            return False
        ledger = self.state.ledger
        return ledger.count_records(self._table) + ledger.count_unknown_rejects(self._table) == total.rows

    def _compare_keys(self, changes: Changes, findings: Findings) -> None:
        """All keys of the source against all that the state accounts for, in both directions."""
        with KeySets(self.state.store.path) as source:
            source.add((self._key(position), position) for position in changes.all_keys())
            findings.changed.add((self._key(position), position) for position in source.missing(self._table))
            known = set(findings.gone)
            findings.gone += [key for key in source.unfounded(self._table) if key not in known]

    def _add_unsettled(self, findings: Findings) -> None:
        """Records whose last write or removal was never proved: their rows are read again, or are gone."""
        unsettled = set(self.state.ledger.unsettled(self._table)) - set(findings.gone)
        positions = {key: position for key in unsettled if (position := self.reader.position_of(key)) is not None}
        rows = again_and_again(lambda: self.reader.rows(list(positions.values())), self.patience)
        present = {row.key for row in rows}
        findings.changed.add((key, positions[key]) for key in present)
        findings.gone += sorted(positions.keys() - present)
