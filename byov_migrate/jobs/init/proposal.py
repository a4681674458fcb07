"""One table's entry as it will be proposed: which columns leave, what is embedded, what is only suggested. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from byov_migrate.jobs.init import judging
from byov_migrate.jobs.init.judging import Judged
from byov_migrate.jobs.init.naming import label_of, property_of, unused
from byov_migrate.source.shape import TableShape
from byov_migrate.source.survey import FoundTable

MOST_TEXTS: Final = 4
"""Columns of one template."""


@dataclass(frozen=True, slots=True)
class SurveyedTable:
    """A table that was looked at: its columns, judged, in the table's order. `rows` is exact up to `COUNTED_ROWS`."""

    found: FoundTable
    shape: TableShape
    judged: tuple[Judged, ...]
    rows: int

    def of_role(self, role: judging.Role) -> list[Judged]:
        """The columns of which this becomes."""
        return [item for item in self.judged if item.role == role]

    @property
    def long_characters(self) -> float:
        """Characters of long text in the table, near enough."""
        return self.rows * sum(item.sample.mean_length or 1.0 for item in self.of_role("embedded"))

    @property
    def is_rich(self) -> bool:
        """Whether there is something to search by meaning: long text, or vectors."""
        return bool(self.of_role("embedded") or self.of_role("vector"))

    @property
    def short_texts(self) -> list[Judged]:
        """Columns of short text that tells rows apart, the longest first: what remains where nothing is long."""
        fit = [
            item
            for item in self.of_role("sent")
            if judging.is_text(item.column)
            and is_template_name(item.name)
            and item.sample.mean_length >= 3
            and item.sample.distinct * 2 > item.sample.filled
        ]
        return sorted(fit, key=lambda item: -item.sample.mean_length * item.sample.filled)


@dataclass(frozen=True, slots=True)
class ProposedEmbedding:
    """One `[[tables.embeddings]]`: text in braces, or a column of vectors."""

    property_name: str
    template: str | None = None
    vector: str | None = None


@dataclass(frozen=True, slots=True)
class ProposedTable:
    """One `[[tables]]`. `left_out`: column -> why; `withheld`: read for the model and kept at home."""

    name: str
    label: str
    rows: int
    columns: tuple[str, ...]
    rename: Mapping[str, str]
    types: Mapping[str, str]
    embeddings: tuple[ProposedEmbedding, ...]
    left_out: Mapping[str, str]
    withheld: tuple[str, ...]
    key: tuple[str, ...]
    hash_key_values: bool
    changed_by: tuple[str, bool] | None  # the column, and whether it is of type timestamptz
    deleted_when: str | None
    nodes: tuple[str, ...]  # columns


def is_template_name(column: str) -> bool:
    """Whether a template can name the column."""
    return not set(column) & set("{}\n")


def propose(
    table: SurveyedTable, labels: Collection[str], references: Collection[str] = (), *, hash_key_values: bool
) -> ProposedTable:
    """The entry of a table; `labels` are taken.

    references: columns of its foreign keys, whose values are records already. hash_key_values: keep the key's values at
    home, as a key must be that looks personal.
    """
    label = label_of(table.found.schema, table.found.name, labels)
    key = tuple(column.name for column in table.shape.key)
    named = {*key, *references}
    sent = [item for item in table.of_role("sent") if not (hash_key_values and item.name in key)]
    names = _outgoing(sent, label)
    embeddings, withheld, too_many = _embeddings(table, sent, set(names.values()))
    return ProposedTable(
        name=table.found.written,
        label=label,
        rows=table.rows,
        columns=tuple(names),
        rename={column: name for column, name in names.items() if column != name},
        types={item.name: item.types for item in sent if item.types},
        embeddings=embeddings,
        left_out={**{item.name: item.why for item in table.of_role("left out")}, **too_many},
        withheld=withheld,
        key=key,
        hash_key_values=hash_key_values,
        changed_by=judging.changed_by(table.shape.columns),
        deleted_when=judging.deleted_when(table.shape.columns),
        nodes=tuple(item.name for item in sent if judging.may_be_node(item) and item.name not in named),
    )


def _outgoing(sent: Sequence[Judged], label: str) -> dict[str, str]:
    """Column -> property; columns that keep their names come first, so that no other is given one of them."""
    kept = {item.name for item in sent if property_of(item.name, label, ()) == item.name}
    names: dict[str, str] = {}
    for item in sent:
        taken = {*names.values(), *(kept - {item.name})}
        names[item.name] = property_of(item.name, label, taken)
    return names


def _embeddings(
    table: SurveyedTable, sent: Sequence[Judged], taken: set[str]
) -> tuple[tuple[ProposedEmbedding, ...], tuple[str, ...], dict[str, str]]:
    """The embeddings, the columns withheld, and the long columns that have no place in one.

    Vectors that are there are taken as they are; the text then stands beside the first, to be shown with hits.
    """
    texts, odd = _texts(table)
    template = _template(texts, sent)
    vectors = [
        ProposedEmbedding(_free(item.name, table.found.name, taken), None if number else template, item.name)
        for number, item in enumerate(table.of_role("vector"))
    ]
    if vectors:
        return tuple(vectors), tuple(item.name for item in texts), odd
    shown = template or _lines(table.short_texts[:MOST_TEXTS])
    if shown is None:
        return (), (), odd
    property_name = texts[0].name if texts else "searchText"
    made = ProposedEmbedding(_free(property_name, table.found.name, taken), shown)
    return (made,), tuple(item.name for item in texts), odd


def _template(texts: Sequence[Judged], sent: Sequence[Judged]) -> str | None:
    """The long columns under a title, if there is one."""
    titles = [item for item in sent if judging.is_title(item) and is_template_name(item.name)]
    return _lines([*titles[:1], *texts]) if texts else None


def _lines(shown: Sequence[Judged]) -> str | None:
    return "\n".join("{" + item.name + "}" for item in shown) or None


def _texts(table: SurveyedTable) -> tuple[list[Judged], dict[str, str]]:
    """The long columns that the model reads, and why others are not."""
    found = table.of_role("embedded")
    fit = [item for item in found if is_template_name(item.name)]
    longest = sorted(fit, key=lambda item: -item.sample.mean_length)[:MOST_TEXTS]
    why = f"long text; the template below has {MOST_TEXTS} columns already"
    odd = {item.name: why if item in fit else "a template cannot name it" for item in found if item not in longest}
    return [item for item in fit if item in longest], odd


def _free(column: str, label: str, taken: set[str]) -> str:
    """A property that is free, and its spare too. Both count as taken from then on."""
    name = property_of(column, label, taken)
    while f"{name}Alt" in taken:
        name = unused(name, {*taken, name})
    taken |= {name, f"{name}Alt"}
    return name
