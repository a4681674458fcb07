"""Nodes and links between what is proposed: columns of few values, foreign keys, tables that only join others. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from byov_migrate.jobs.init.naming import label_of, type_of, unused, words
from byov_migrate.jobs.init.proposal import ProposedTable, SurveyedTable
from byov_migrate.source.survey import ForeignKey, FoundTable


@dataclass(frozen=True, slots=True)
class Node:
    """One `[[nodes]]`: a record for each value of a column."""

    label: str
    table: str
    column: str
    property_name: str = "name"


@dataclass(frozen=True, slots=True)
class Link:
    """One `[[links]]`: a foreign key, a table that joins two others, or a column to the records of its values.

    source, target: as they are written, without the column where it is not needed. problem: why it is not proposed.
    """

    type: str
    source: str
    target: str  # the table's name where it is not chosen
    foreign_key: str | None = None
    through: str | None = None
    properties: tuple[str, ...] = ()  # further columns of the joining table
    problem: str = ""

    @property
    def label(self) -> str:
        """Of the source."""
        return self.source.partition(".")[0]


@dataclass(frozen=True)
class Joins:
    """What the database knows of its tables. columns: of tables that only join others, as far as they can be read."""

    found: Mapping[int, FoundTable]
    keys: Sequence[ForeignKey]
    columns: Mapping[int, Sequence[str]] = field(default_factory=dict)


NOT_CHOSEN = "not chosen"


def is_join_table(oid: int, keys: Sequence[ForeignKey]) -> bool:
    """Whether a table holds two foreign keys and, dates apart, nothing else."""
    own = [key for key in keys if key.table == oid]
    return len(own) == 2 and len({column for key in own for column in key.columns}) == own[0].table_columns


def joining_tables(keys: Sequence[ForeignKey]) -> Iterator[tuple[ForeignKey, ForeignKey]]:
    """The two foreign keys of each table that joins two others: it holds nothing else, or they are its primary key."""
    for oid in dict.fromkeys(key.table for key in keys):
        own = [key for key in keys if key.table == oid]
        if len(own) != 2 or set(own[0].columns) & set(own[1].columns):
            continue
        if is_join_table(oid, keys) or {*own[0].columns, *own[1].columns} == own[0].table_key:
            yield own[0], own[1]


def find_nodes(proposed: Sequence[ProposedTable]) -> tuple[Node, ...]:
    """Records for the values of columns, with labels of their own."""
    labels = {table.label for table in proposed}
    found = []
    for table in proposed:
        for column in table.nodes:
            label = label_of(table.label, words(column)[-1] if words(column) else "value", labels)
            labels.add(label)
            found.append(Node(label, table.name, column))
    return tuple(found)


def find_links(
    joins: Joins, chosen: Sequence[SurveyedTable], proposed: Sequence[ProposedTable], nodes: Sequence[Node]
) -> tuple[Link, ...]:
    """Foreign keys, then columns to their nodes, then tables that join two labels; no label has a type twice."""
    surveyed = {table.found.written: table for table in chosen}
    ends = {surveyed[table.name].found.oid: _End(table, surveyed[table.name]) for table in proposed}
    labels = {table.name: table.label for table in proposed}
    found = [*_direct(joins, ends), *_to_nodes(labels, nodes), *_through(joins, ends)]
    return tuple(_told_apart(found))


@dataclass(frozen=True)
class _End:
    proposed: ProposedTable
    surveyed: SurveyedTable

    @property
    def label(self) -> str:
        return self.proposed.label

    @property
    def key(self) -> set[str]:
        return set(self.proposed.key)


def _told_apart(links: Sequence[Link]) -> Iterator[Link]:
    taken: dict[str, set[str]] = {}
    for link in links:
        if link.problem:
            yield link
            continue
        types = taken.setdefault(link.label, set())
        kind = unused(link.type, types)
        types.add(kind)
        yield replace(link, type=kind)


def _direct(joins: Joins, ends: Mapping[int, _End]) -> Iterator[Link]:
    for key in joins.keys:
        if key.table not in ends:
            continue
        source, target = ends[key.table], ends.get(key.target)
        if target is None:
            table = joins.found.get(key.target)
            away = table.written if table else "another table"
            yield Link(type_of(key.columns[0]), source.label, away, problem=NOT_CHOSEN)
        else:
            yield _by_key(key, source, target)


def _by_key(key: ForeignKey, source: _End, target: _End) -> Link:
    link = Link(_type_of_key(key, target.label), source.label, target.label, key.written)
    if not {*key.columns} <= source.surveyed.shape.columns.keys():
        return replace(link, problem="the role may not read its columns")
    if _tells_a_person(key, source, target):
        return replace(link, problem="its column looks personal, and the key that it names would leave")
    if key.written is not None:
        return link
    if len(key.columns) > 1:
        return replace(link, problem="its name holds a dot")
    return replace(link, source=f"{link.source}.{key.columns[0]}", target=f"{link.target}.{key.target_columns[0]}")


def _tells_a_person(key: ForeignKey, source: _End, target: _End) -> bool:
    personal = {item.name for item in source.surveyed.judged if item.personal}
    return bool(personal & set(key.columns)) and not target.proposed.hash_key_values


def _type_of_key(key: ForeignKey, target: str) -> str:
    """After its column; of several none tells more than where they lead."""
    return type_of(key.columns[0]) if len(key.columns) == 1 else type_of(target)


def _to_nodes(labels: Mapping[str, str], nodes: Sequence[Node]) -> Iterator[Link]:
    for node in nodes:
        source = f"{labels[node.table]}.{node.column}"
        yield Link(type_of(node.column), source, f"{node.label}.{node.property_name}")


def _through(joins: Joins, ends: Mapping[int, _End]) -> Iterator[Link]:
    for pair in joining_tables(joins.keys):
        columns = joins.columns.get(pair[0].table, ())
        first, second = _in_order(pair, columns)
        source, target = ends.get(first.target), ends.get(second.target)
        if first.table in ends or source is None or target is None:
            continue
        link = Link(
            _type_of_key(second, target.label),
            source.label,
            target.label,
            through=FoundTable(first.table, first.schema, first.relation).written,
        )
        joined = {*first.columns, *second.columns}
        if not joined <= set(columns):
            yield replace(link, problem=f"the role may not read {link.through}")
        elif (set(first.target_columns), set(second.target_columns)) == (source.key, target.key):
            yield replace(link, properties=tuple(column for column in columns if column not in joined))


def _in_order(pair: tuple[ForeignKey, ForeignKey], columns: Sequence[str]) -> tuple[ForeignKey, ForeignKey]:
    """From the end whose columns stand first.

    Between records of one label it is the order of the constraints' names: so a link is read that names no columns.
    """
    first, second = pair
    places = [columns.index(key.columns[0]) if key.columns[0] in columns else 0 for key in pair]
    return (second, first) if first.target != second.target and places[1] < places[0] else pair
