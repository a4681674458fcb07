"""Links as the source has them: which columns name a record of which label, or which query names the pairs.

carried  the target's key can be told from the row itself (a foreign key to its key, a value that is a node): the row
         carries it, and RushDB joins by it
paired   everything else (a join table, equal values of other columns): pairs of keys, read by a query of their own
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from byov_migrate.config import Config, Entry, LinkConfig
from byov_migrate.digests import Digests
from byov_migrate.errors import ConfigurationError
from byov_migrate.source import queries
from byov_migrate.source.catalog import describe_table, known_columns
from byov_migrate.source.distinct import value_column
from byov_migrate.source.keys import INTEGERS, canonical_key
from byov_migrate.source.names import Relation, nearest, resolve
from byov_migrate.source.session import Session, Transaction
from byov_migrate.source.shape import Column, TableShape, TypeName
from byov_migrate.source.statements import column_of_row, type_name


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """The records at one end: their entry, and how a key in PostgreSQL's text becomes theirs."""

    entry: Entry
    shape: TableShape

    @property
    def types(self) -> list[TypeName]:
        """Of the key's columns."""
        return [column.base for column in self.shape.key]

    def key(self, texts: tuple[str, ...], digests: Digests) -> str:
        """`byovKey` of the record that these key values name."""
        canonical = canonical_key(self.types, texts)
        return digests.key_hash(canonical) if self.entry.hash_key_values else canonical


@dataclass(frozen=True, slots=True)
class Carried:
    """Columns of the source that hold the target's key, in the order of the key. is_list: an array of such keys."""

    columns: tuple[Column, ...]
    is_list: bool


@dataclass(frozen=True, slots=True)
class Paired:
    """The relation that holds pairs: columns with the key of either end, and what becomes properties of the link.

    oid: of the join table; None where the two ends' own tables are joined by `equal`, a column of each.
    """

    oid: int | None
    schema: str
    relation: str
    source_columns: tuple[Column, ...]
    target_columns: tuple[Column, ...]
    properties: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class LinkShape:
    """One `[[links]]` entry, understood."""

    config: LinkConfig
    path: str
    source: LinkEnd
    target: LinkEnd
    way: Carried | Paired

    @property
    def type(self) -> str:
        """The relationship's type."""
        return self.config.type

    @property
    def name(self) -> str:
        """`Job.POSTED_BY`: no other link has this name."""
        return f"{self.source.entry.label}.{self.type}"

    @property
    def is_carried(self) -> bool:
        """Whether rows of the source carry the target's key."""
        return isinstance(self.way, Carried)

    @property
    def is_list(self) -> bool:
        """Whether a row carries several keys."""
        return isinstance(self.way, Carried) and self.way.is_list

    @property
    def ref_property(self) -> str:
        """The property of the source's records that RushDB joins by."""
        return f"byovRef_{self.type}"


def describe_links(session: Session, config: Config) -> tuple[LinkShape, ...]:
    """Understand every link by the catalogue. Raise ConfigurationError with every mistake, a line each."""
    if not config.links:
        return ()
    shapes = {entry.label: describe_table(session, entry) for entry in config.entries}
    with session.transaction() as transaction:
        describer = _Describer(transaction, {entry.label: entry for entry in config.entries}, shapes)
        found, mistakes = [], []
        for number, link in enumerate(config.links):
            try:
                found.append(describer.describe(link, f"links[{number}]"))
            except _Mistake as mistake:
                mistakes.append(f"links[{number}]{mistake}")
    mistakes += _doubled(found)
    if mistakes:
        head = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise ConfigurationError("\n  ".join([f"{head} about links", *mistakes]))
    return tuple(found)


def _doubled(links: Sequence[LinkShape]) -> Iterator[str]:
    """By foreign key the label shows only here."""
    seen: dict[str, str] = {}
    for link in links:
        if link.name in seen:
            yield f"{link.path}.type: {link.type} leads from {link.source.entry.label} already ({seen[link.name]})"
        seen.setdefault(link.name, link.path)


class _Mistake(Exception):
    """What is wrong with one link: `.key: reason`."""


@dataclass(frozen=True)
class _ForeignKey:
    name: str
    table: int
    target: int
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]


@dataclass(frozen=True)
class _Describer:
    transaction: Transaction
    entries: Mapping[str, Entry]
    shapes: Mapping[str, TableShape]

    def describe(self, link: LinkConfig, path: str) -> LinkShape:
        if link.foreign_key is not None:
            return self._by_foreign_key(link, link.foreign_key, path)
        if link.through is not None:
            return self._through(link, link.through, path)
        return self._by_value(link, path)

    def _end(self, label: str) -> LinkEnd:
        return LinkEnd(self.entries[label], self.shapes[label])

    def _end_of(self, oid: int, what: str) -> LinkEnd:
        for label, shape in self.shapes.items():
            if shape.oid == oid and shape.derived is None:
                return self._end(label)
        raise _Mistake(f".foreign_key: the table it {what} is no [[tables]] entry; add it")

    def _by_foreign_key(self, link: LinkConfig, name: str, path: str) -> LinkShape:
        found = self._constraint(name)
        source, target = self._end_of(found.table, "belongs to"), self._end_of(found.target, "leads to")
        known = known_columns(self.transaction, found.table)
        pairs = dict(zip(found.target_columns, found.columns, strict=True))
        if pairs.keys() == {column.name for column in target.shape.key}:
            columns = tuple(known[pairs[column.name]] for column in target.shape.key)
            return LinkShape(link, path, source, target, Carried(columns, is_list=False))
        return self._equal(link, path, source, target, (found.columns, found.target_columns))

    def _constraint(self, name: str) -> _ForeignKey:
        table, _, constraint = name.rpartition(".")
        tables = [shape.oid for shape in self.shapes.values()]
        oids = [self._relation(table, ".foreign_key").oid] if table else tables
        rows = self.transaction.fetch(queries.FOREIGN_KEYS_OF, (oids,))
        keys = [_ForeignKey(row[0], row[1], row[2], tuple(row[3]), tuple(row[4])) for row in rows]
        found = [key for key in keys if key.name == constraint]
        if len(found) == 1:
            return found[0]
        if found:
            raise _Mistake(f'.foreign_key: several tables have a {constraint}; write "schema.table.{constraint}"')
        hint = nearest(constraint, [key.name for key in keys])
        raise _Mistake(f".foreign_key: {table or 'no table'} has no foreign key {constraint!r}{hint}")

    def _relation(self, table: str, key: str) -> Relation:
        try:
            return resolve(self.transaction, table, key)
        except ConfigurationError as error:
            raise _Mistake(str(error)) from error

    def _by_value(self, link: LinkConfig, path: str) -> LinkShape:
        source, target = self._end(link.source_end.label), self._end(link.target_end.label)
        column = self._column(source, link.source_end.column, ".source")
        if target.entry.distinct is not None:
            self._require_alike(column, self._own_column(target, link.target_end.column, ".target"))
            return LinkShape(link, path, source, target, Carried((column,), is_list=column.element is not None))
        other = self._column(target, link.target_end.column, ".target")
        if [key.name for key in target.shape.key] == [other.name]:
            self._require_alike(column, other)
            return LinkShape(link, path, source, target, Carried((column,), is_list=column.element is not None))
        return self._equal(link, path, source, target, ((column.name,), (other.name,)))

    def _require_alike(self, column: Column, key: Column) -> None:
        """A value that is no key of the target's type would end a run in its middle."""
        base = column.element or column.base
        alike = value_column(column).base == key.base or base == key.base or {base.name, key.base.name} <= INTEGERS
        if not alike or (key.base.kind == "e" and base != key.base):
            raise _Mistake(f".source: {column.name} is {column.declared} and {key.name} is {key.declared}; not joined")

    def _column(self, end: LinkEnd, name: str, key: str) -> Column:
        """By its name, or the name that it leaves under."""
        if end.entry.distinct is not None:
            return self._own_column(end, name, key)
        known = known_columns(self.transaction, end.shape.oid)
        renamed = {end.entry.outgoing_name(column): column for column in end.entry.columns}
        found = known.get(name) or known.get(renamed.get(name, ""))
        if found is None:
            raise _Mistake(f"{key}: {end.entry.name} has no column {name!r}{nearest(name, list(known))}")
        return found

    def _own_column(self, end: LinkEnd, name: str, key: str) -> Column:
        """Of a node, which has one."""
        own = end.entry.distinct or ""
        if name not in (own, end.entry.outgoing_name(own)):
            raise _Mistake(f"{key}: a node has one property, {end.entry.outgoing_name(own)}")
        return end.shape.key[0]

    def _equal(
        self,
        link: LinkConfig,
        path: str,
        source: LinkEnd,
        target: LinkEnd,
        columns: tuple[Sequence[str], Sequence[str]],
    ) -> LinkShape:
        sides = [known_columns(self.transaction, end.shape.oid) for end in (source, target)]
        ours, theirs = (tuple(side[name] for name in names) for side, names in zip(sides, columns, strict=True))
        for one, other in zip(ours, theirs, strict=True):
            if one.element is not None or other.element is not None:
                raise _Mistake(f".source: an array is joined with nodes or with keys, and {other.name} is neither")
        return LinkShape(link, path, source, target, Paired(None, "", "", ours, theirs, ()))

    def _through(self, link: LinkConfig, table: str, path: str) -> LinkShape:
        relation = self._relation(table, ".through")
        known = known_columns(self.transaction, relation.oid)
        rows = self.transaction.fetch(queries.FOREIGN_KEYS_OF, ([relation.oid],))
        keys = [_ForeignKey(row[0], row[1], row[2], tuple(row[3]), tuple(row[4])) for row in rows]
        source, target = self._end(link.source or ""), self._end(link.target or "")
        taken: set[str] = set()
        ends = []
        for side, end, named in (("source", source, link.source_columns), ("target", target, link.target_columns)):
            names = named or self._referencing(end, keys, known, taken, side)
            taken.update(names)
            ends.append(self._named(names, known, table, side, end))
        properties = tuple(self._named_one(name, known, table, "properties") for name in link.properties)
        way = Paired(relation.oid, relation.schema, relation.name, ends[0], ends[1], properties)
        return LinkShape(link, path, source, target, way)

    def _referencing(
        self, end: LinkEnd, keys: Sequence[_ForeignKey], known: Mapping[str, Column], taken: set[str], side: str
    ) -> tuple[str, ...]:
        """The columns of a join table that name a record of this end, in the order of its key."""
        if end.entry.distinct in known and end.shape.derived is not None:
            return (end.entry.distinct or "",)
        wanted = {column.name for column in end.shape.key}
        for key in keys:
            if key.target == end.shape.oid and set(key.target_columns) == wanted and not taken & set(key.columns):
                pairs = dict(zip(key.target_columns, key.columns, strict=True))
                return tuple(pairs[column.name] for column in end.shape.key)
        raise _Mistake(
            f".through: no foreign key of it leads to the key of {end.entry.name}; name its columns in {side}_columns"
        )

    def _named(
        self, names: Sequence[str], known: Mapping[str, Column], table: str, side: str, end: LinkEnd
    ) -> tuple[Column, ...]:
        if len(names) != len(end.shape.key):
            expected = ", ".join(column.name for column in end.shape.key)
            raise _Mistake(f".{side}_columns: the key of {end.entry.name} is ({expected})")
        return tuple(self._named_one(name, known, table, f"{side}_columns") for name in names)

    def _named_one(self, name: str, known: Mapping[str, Column], table: str, key: str) -> Column:
        if name not in known:
            raise _Mistake(f".{key}: {table} has no column {name!r}{nearest(name, list(known))}")
        return known[name]


def carried_by(links: Sequence[LinkShape], label: str) -> list[LinkShape]:
    """The links that rows of a label carry."""
    return [link for link in links if link.source.entry.label == label and isinstance(link.way, Carried)]


def carried_columns(link: LinkShape) -> tuple[Column, ...]:
    """The columns of the source that a carried link is read from."""
    return link.way.columns if isinstance(link.way, Carried) else ()


def ref_expressions(link: LinkShape) -> list[sql.Composable]:
    """What to select of a row: the target's key as text, or the array of such keys."""
    if not isinstance(link.way, Carried):
        return []
    if link.way.is_list:
        return [sql.SQL("{}::text[]").format(column_of_row(link.way.columns[0].name))]
    return [
        sql.SQL("{}::{}::text").format(column_of_row(column.name), type_name(key.cast))
        for column, key in zip(link.way.columns, link.target.shape.key, strict=True)
    ]


def read_ref(link: LinkShape, selected: Sequence[Any], digests: Digests) -> tuple[str, ...]:
    """The keys that a row leads to, each once; empty where a column is NULL. selected: as `ref_expressions` ask."""
    if not isinstance(link.way, Carried) or any(value is None for value in selected):
        return ()
    if not link.way.is_list:
        return (link.target.key(tuple(selected), digests),)
    return tuple(sorted({link.target.key((element,), digests) for element in _elements(selected[0])}))


def _elements(values: Sequence[Any]) -> Iterator[str]:
    """Of an array of any number of dimensions, as `unnest` has them."""
    for value in values:
        if isinstance(value, list):
            yield from _elements(value)
        elif isinstance(value, str):
            yield value
