"""What differs, and what only seemed to: writers and even a sync may be at work while both sides are read.

What the next sync takes care of is behind. Everything else is looked at again, and counts once two looks in a row have
seen exactly the same on both sides: had a sync written the key between them, the second would have seen that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from byov_migrate.errors import Interrupted
from byov_migrate.jobs.verify.coming import coming_keys
from byov_migrate.jobs.verify.looks import Looker
from byov_migrate.records import KeyText
from byov_migrate.state.comparison import KINDS, Difference, Kind, TableComparison
from byov_migrate.target.retry import Patience

LOOKED_AT = 10_000
"""Keys that get a second look; beyond so many, what the first one saw counts."""
LOOKS = 8
PAUSE_S = 0.2


@dataclass
class Verdict:
    """What counts, a key once a kind. found: at most 10,000 of a kind. unlooked: of those counted, seen only once.

    behind: keys that the next sync takes care of, by kind.
    """

    counts: Counter[Kind] = field(default_factory=Counter)
    found: dict[tuple[Kind, str], Difference] = field(default_factory=dict)
    behind: Counter[Kind] = field(default_factory=Counter)
    unlooked: int = 0
    _behind_keys: set[tuple[Kind, str]] = field(default_factory=set)

    def count(self, item: Difference) -> None:
        """One more difference, or one more thing about a known one."""
        known = self.found.get((item.kind, item.key))
        if known is not None:
            what = f"{known.what}; {item.what}" if item.what not in known.what else known.what
            self.found[item.kind, item.key] = replace(known, what=what)
            return
        if self.counts[item.kind] < LOOKED_AT:
            self.found[item.kind, item.key] = item
        self.counts[item.kind] += 1

    def leave(self, item: Difference) -> None:
        """One more that the next sync takes care of."""
        if (item.kind, item.key) in self._behind_keys:
            return
        if len(self._behind_keys) < LOOKED_AT:
            self._behind_keys.add((item.kind, item.key))
        self.behind[item.kind] += 1

    @property
    def differences(self) -> tuple[Difference, ...]:
        """What was found, in order of kind."""
        return tuple(sorted(self.found.values(), key=lambda item: KINDS.index(item.kind)))


@dataclass(frozen=True)
class Judge:
    """Judges one table."""

    comparison: TableComparison
    looker: Looker
    patience: Patience

    def judge(self, verdict: Verdict, *, slices: Sequence[str] | None = None, sample: int = 0) -> None:
        """Compare all, or the rows and records of some slices. sample: so many keys are looked at whatever they are."""
        suspects: dict[str, None] = {}
        kinds = self.looker.kinds
        with coming_keys(self.looker.subject) as coming:
            for item in self.comparison.differences(kinds, changed=coming, slices=slices):
                if item.is_behind:
                    verdict.leave(item)
                elif item.key in suspects or len(suspects) < LOOKED_AT:
                    suspects[item.key] = None
                else:
                    verdict.unlooked += 1
                    verdict.count(item)
        suspects |= {key: None for key, _ in self.comparison.sample(sample)}
        if suspects:
            self._look_again(self._positions(suspects), verdict)

    def _positions(self, keys: Iterable[str]) -> dict[str, KeyText | None]:
        """Where the rows of these keys are looked for; None where the key alone cannot tell."""
        keys = list(keys)
        known = self.comparison.positions(keys)
        position_of = self.looker.subject.reader.position_of
        return {key: known[key][1] if key in known else position_of(key) for key in keys}

    def _look_again(self, positions: Mapping[str, KeyText | None], verdict: Verdict) -> None:
        before = {key: self.comparison.evidence(key) for key in positions}
        found: list[Difference] = []
        for number in range(LOOKS):
            if number:
                self._pause()
            with coming_keys(self.looker.subject) as coming:
                changed = None if coming is None else set(coming) & positions.keys()
            looked = self.looker.look(positions, changed, positions.keys())
            found = looked.differences
            same = {key for key, seen in looked.evidence.items() if seen == before[key]}
            moving = {item.key for item in found if not item.is_behind} - same
            _settle((item for item in found if item.key not in moving), verdict)
            if not moving:
                return
            found = [item for item in found if item.key in moving]
            positions = {key: positions[key] for key in moving}
            before = {key: looked.evidence[key] for key in moving}
        _settle([Difference(item.kind, item.key, item.what, is_behind=True) for item in found], verdict)

    def _pause(self) -> None:
        if self.patience.sleep(PAUSE_S):
            raise Interrupted


def _settle(found: Iterable[Difference], verdict: Verdict) -> None:
    for item in found:
        (verdict.leave if item.is_behind else verdict.count)(item)
