"""Whether what is sent repeats what is withheld: runs of eight words that stand in both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from byov_migrate.config import TableConfig
from byov_migrate.jobs.planning.sampling import SampledRow
from byov_migrate.records import Outgoing

RUN_WORDS = 8
TOLERATED = 0.01
_WORD = re.compile(r"\w+")
Run = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many of the sampled rows repeat withheld text in one sent column (or property, for text that is sent)."""

    column: str
    withheld: tuple[str, ...]
    rows: int
    sampled: int
    is_allowed: bool

    @property
    def share(self) -> float:
        """Of the sampled rows."""
        return self.rows / self.sampled if self.sampled else 0.0

    @property
    def is_refused(self) -> bool:
        """Whether somebody has to decide about it before anything is sent."""
        return self.share > TOLERATED and not self.is_allowed


def find_overlaps(table: TableConfig, rows: Sequence[SampledRow], withheld: Sequence[str]) -> tuple[Overlap, ...]:
    """One finding for each sent column; none where nothing is withheld."""
    if not withheld:
        return ()
    counts = {column: _Count() for column, _ in _sent(table)}
    for row in rows:
        runs = set(chain.from_iterable(_runs(text) for _, text in row.withheld))
        for column, name in _sent(table) if runs else ():
            if _repeats(_sent_values(table, row, name), runs):
                counts[column].rows += 1
                counts[column].withheld.update(_which(row, name, table))
    return tuple(
        Overlap(column, tuple(sorted(count.withheld)), count.rows, len(rows), column in table.allow_overlap)
        for column, count in counts.items()
    )


class _Count:
    def __init__(self) -> None:
        self.rows = 0
        self.withheld: set[str] = set()


def _sent(table: TableConfig) -> Iterator[tuple[str, str]]:
    """Column and outgoing name of everything that is sent as it stands."""
    for column in table.columns:
        yield column, table.outgoing_name(column)
    for item in table.embeddings:
        if item.send_text:
            yield item.property_name, item.property_name


def _sent_values(table: TableConfig, row: SampledRow, name: str) -> list[str]:
    sent: Mapping[str, Outgoing] = row.row.properties
    contents = zip(table.embeddings, row.row.contents, strict=True)
    texts = {item.property_name: text for item, text in contents if item.send_text and isinstance(text, str)}
    value = texts.get(name, sent.get(name))
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, str)]


def _which(row: SampledRow, name: str, table: TableConfig) -> Iterator[str]:
    """The withheld columns that the value repeats."""
    values = _sent_values(table, row, name)
    return (column for column, text in row.withheld if _repeats(values, set(_runs(text))))


def _repeats(values: Iterable[str], runs: set[Run]) -> bool:
    """Elements of a list are read one after the other: a text may have been cut into sentences."""
    return any(run in runs for run in _runs(" ".join(values)))


def _runs(text: str) -> Iterator[Run]:
    words = _WORD.findall(text.casefold())
    return zip(*(words[start:] for start in range(RUN_WORDS)), strict=False)
