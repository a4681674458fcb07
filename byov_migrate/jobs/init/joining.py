"""Foreign keys and tables that only join others, as links between the labels that are proposed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from byov_migrate.jobs.init.naming import type_of
from byov_migrate.jobs.init.proposal import ProposedTable, SurveyedTable
from byov_migrate.jobs.init.writing import Link
from byov_migrate.source.survey import ForeignKey, FoundTable


def is_join_table(oid: int, keys: Sequence[ForeignKey]) -> bool:
    """Whether a table holds two foreign keys and, dates apart, nothing else."""
    own = [key for key in keys if key.table == oid]
    return len(own) == 2 and len({column for key in own for column in key.columns}) == own[0].table_columns


def find_links(
    known: Mapping[int, FoundTable],
    keys: Sequence[ForeignKey],
    chosen: Sequence[SurveyedTable],
    proposed: Sequence[ProposedTable],
) -> tuple[Link, ...]:
    """Links from the labels proposed, then those through tables that only join two of them."""
    names = {table.found.written: table.found.oid for table in chosen}
    labels = {names[table.name]: table.label for table in proposed}
    return (*_direct(known, keys, labels), *_through(keys, labels))


def _direct(known: Mapping[int, FoundTable], keys: Sequence[ForeignKey], labels: Mapping[int, str]) -> Iterator[Link]:
    for key in keys:
        if key.table not in labels:
            continue
        table = known.get(key.target)
        target = labels.get(key.target) or (table.written if table else "another table")
        kind = type_of(key.columns[0])
        yield Link(kind, labels[key.table], target, foreign_key=key.written, is_complete=key.target in labels)


def _through(keys: Sequence[ForeignKey], labels: Mapping[int, str]) -> Iterator[Link]:
    for oid in dict.fromkeys(key.table for key in keys):
        if oid in labels or not is_join_table(oid, keys):
            continue
        first, second = (key for key in keys if key.table == oid)
        if first.target in labels and second.target in labels:
            through = FoundTable(oid, first.schema, first.relation).written
            yield Link(type_of(second.columns[0]), labels[first.target], labels[second.target], through=through)
