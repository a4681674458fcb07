"""What the catalogue says about a table of the configuration, and everything that does not fit, at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from byov_migrate.config import Entry, TableConfig
from byov_migrate.errors import ConfigurationError, CredentialsRefused, PersonNeeded, Refused
from byov_migrate.source import queries
from byov_migrate.source.checks import columns_in_use, filter_mistakes, table_mistakes
from byov_migrate.source.cursor import if_permitted, read_timeline
from byov_migrate.source.distinct import distinct_mistakes, distinct_shape
from byov_migrate.source.keys import is_key_type
from byov_migrate.source.names import Relation, resolve
from byov_migrate.source.session import Session, Transaction
from byov_migrate.source.shape import Column, TableShape, TypeName, signature

VIEW_KINDS = frozenset("vmf")  # nothing keeps a key of these unique


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    """Which database this is. `system_identifier` and `timeline` are None where the role may not ask."""

    system_identifier: str | None
    timeline: int | None
    database: str
    server_version: int
    in_recovery: bool


@dataclass(frozen=True, slots=True)
class _Facts:
    estimated_rows: int
    may_enter: bool
    rows_hidden: bool
    has_heirs: bool  # rows of tables that inherit are read too, and no index spans them
    encoding: str
    role: str


def describe_table(session: Session, table: TableConfig, index: int = 0) -> TableShape:
    """Resolve and check one table; `index` is its place in the configuration.

    Raise ConfigurationError with every mistake, a line each; CredentialsRefused with the GRANT that is missing;
    PersonNeeded where rows may be hidden or the text's encoding is unknown.
    """
    if isinstance(table, Entry) and table.distinct is not None:
        return _describe_distinct(session, table)
    path = table.path if isinstance(table, Entry) else f"tables[{index}]"
    with session.transaction() as transaction:
        relation = resolve(transaction, table.name, f"{path}.name")
        facts = _Facts(*transaction.fetch(queries.RELATION, (relation.oid,))[0])
        rows = transaction.fetch(queries.COLUMNS, (relation.oid,))
        known = {column.name: column for column in map(_column, rows)}
        key, proven, mistakes = _key(transaction, relation, table, known, path)
        mistakes += table_mistakes(table, known, key, path)
        if not mistakes:
            mistakes += filter_mistakes(transaction, table, known, relation, path)
    if mistakes:
        raise _mistakes(table.name, mistakes)
    _check_access(relation, facts, [row[0] for row in rows if not row[-1]], columns_in_use(table, key))
    used = {name: known[name] for name in columns_in_use(table, key)}
    return TableShape(
        relation.oid,
        relation.schema,
        relation.name,
        relation.kind,
        used,
        tuple(known[name] for name in key),
        proven and not facts.has_heirs,
        facts.estimated_rows,
    )


def known_columns(transaction: Transaction, oid: int) -> dict[str, Column]:
    """Every column of a relation by its name."""
    return {column.name: column for column in map(_column, transaction.fetch(queries.COLUMNS, (oid,)))}


def _describe_distinct(session: Session, entry: Entry) -> TableShape:
    """As `describe_table`, for the distinct values of a column."""
    with session.transaction() as transaction:
        relation = resolve(transaction, entry.owner, f"{entry.path}.table")
        facts = _Facts(*transaction.fetch(queries.RELATION, (relation.oid,))[0])
        rows = transaction.fetch(queries.COLUMNS, (relation.oid,))
        known = {column.name: column for column in map(_column, rows)}
    if mistakes := list(distinct_mistakes(entry, known)):
        raise _mistakes(entry.name, mistakes)
    used = columns_in_use(entry, entry.columns)
    _check_access(relation, facts, [row[0] for row in rows if not row[-1]], used)
    return distinct_shape(entry, relation, known, used, facts.estimated_rows)


def _mistakes(table: str, found: Sequence[str]) -> ConfigurationError:
    head = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
    return ConfigurationError("\n  ".join([f"{head} about {table}", *found]))


def _column(row: Sequence[Any]) -> Column:
    name, declared, cast, modifier, not_null, collation, *types, schema, function, _ = row
    element = TypeName(*types[4:]) if types[4] is not None else None
    return Column(
        name,
        declared,
        cast,
        modifier,
        not_null,
        collation,
        TypeName(*types[:4]),
        element,
        (schema or "", function or ""),
    )


def _key(
    transaction: Transaction, relation: Relation, table: TableConfig, known: Mapping[str, Column], path: str
) -> tuple[tuple[str, ...], bool, list[str]]:
    """The key's columns, whether an index proves them, and what is wrong."""
    if relation.kind in VIEW_KINDS:
        if table.key is None:
            return (
                (),
                False,
                [f"{path}.key: {table.name} is no table with a primary key; name the columns that are unique"],
            )
        return table.key, False, list(_key_mistakes(table.key, known, f"{path}.key", nullable=True))
    indexes = [tuple(row[1]) for row in transaction.fetch(queries.KEYS, (relation.oid,))]
    if table.key is not None:
        return table.key, True, list(_named_key_mistakes(table.key, indexes, known, f"{path}.key"))
    usable = [index for index in indexes if not list(_key_mistakes(index, known, path))]
    if usable:
        return usable[0], True, []
    return (), False, [_no_key(indexes, known, table.name, path)]


def _no_key(indexes: Sequence[tuple[str, ...]], known: Mapping[str, Column], table: str, path: str) -> str:
    if not indexes:
        return f"{path}.key: {table} has neither a primary key nor a unique index; rows could not be told apart"
    reasons = "; ".join(_key_mistakes(indexes[0], known, ", ".join(indexes[0])))
    return f"{path}.key: no unique index of {table} can be used: {reasons}"


def _named_key_mistakes(
    key: tuple[str, ...], indexes: Sequence[tuple[str, ...]], known: Mapping[str, Column], path: str
) -> Iterator[str]:
    yield from _key_mistakes(key, known, path)
    if all(name in known for name in key) and not any(set(index) == set(key) for index in indexes):
        there = ", ".join(f"({', '.join(index)})" for index in indexes) or "none"
        yield f"{path}: no unique index over exactly ({', '.join(key)}); there are: {there}"


def _key_mistakes(
    key: Sequence[str], known: Mapping[str, Column], path: str, *, nullable: bool = False
) -> Iterator[str]:
    """Of the columns that exist; `table_mistakes` tells of those that do not."""
    for name in key:
        if (column := known.get(name)) is None:
            continue
        if not column.not_null and not nullable:
            yield f"{path}: column {name} may be NULL, which compares with nothing; choose columns that are NOT NULL"
        if column.element is not None or not is_key_type(column.base):
            yield f"{path}: column {name} is {column.declared}, which can be no key"


def _check_access(relation: Relation, facts: _Facts, closed: Sequence[str], used: Sequence[str]) -> None:
    name = f"{_quoted(relation.schema)}.{_quoted(relation.name)}"
    role = _quoted(facts.role)
    missing = [column for column in used if column in closed]
    if not facts.may_enter or missing:
        grants = [f"GRANT SELECT ON {name} TO {role}"] if missing else []
        if not facts.may_enter:
            grants.append(f"GRANT USAGE ON SCHEMA {_quoted(relation.schema)} TO {role}")
        what = f"column {missing[0]} of {name}" if missing else f"schema {relation.schema}"
        raise CredentialsRefused(f"the role {facts.role} may not read {what}", next_step="; ".join(grants))
    if facts.rows_hidden:
        raise hidden_rows(name, facts.role)
    if facts.encoding == "SQL_ASCII":
        raise PersonNeeded(
            f"the database of {name} has encoding SQL_ASCII, so nobody knows which characters its bytes mean",
            next_step="restore it into a database with encoding UTF8",
        )


def hidden_rows(table: str, role: str) -> PersonNeeded:
    """Why nothing can be read while row-level security is active."""
    return PersonNeeded(
        f"row-level security hides rows of {table} from the role {role}; a hidden row would look deleted",
        next_step=f"ALTER ROLE {_quoted(role)} BYPASSRLS, or a role to which no policy of the table applies",
    )


def _quoted(name: str) -> str:
    return name if name.isidentifier() and name == name.lower() else '"' + name.replace('"', '""') + '"'


def check_unchanged(transaction: Transaction, shape: TableShape) -> None:
    """Raise Refused, naming the column, when a column in use is no longer what it was.

    Called after a read in the same transaction it is proof: the read's lock keeps the table as it is until the end.
    """
    parameters = (shape.schema, shape.relation, shape.oid, list(shape.columns))
    found = {
        row[0]: signature(row[1], row[3], not_null=row[2]) for row in transaction.fetch(queries.SIGNATURES, parameters)
    }
    if not found:
        raise replaced(shape)
    for column, expected in shape.signatures.items():
        now = found.get(column)
        if now != expected:
            became = f"is now {now}" if now else "is gone"
            raise Refused(f"column {shape}.{column} {became}, was {expected}; nothing written", next_step=_REPLAN)


def replaced(shape: TableShape) -> Refused:
    """Why nothing is read from what has the table's name now."""
    return Refused(f"table {shape} was dropped, renamed or made anew since it was planned", next_step=_REPLAN)


_REPLAN = "byov-migrate plan"


def source_identity(session: Session) -> SourceIdentity:
    """Which database this is, to be compared with the one that a state belongs to."""
    with session.transaction() as transaction:
        database, in_recovery = transaction.fetch(queries.DATABASE)[0]
        system = if_permitted(transaction, queries.SYSTEM_IDENTIFIER)
        timeline = read_timeline(transaction, in_recovery)
    return SourceIdentity(system, timeline, database, session.server_version, in_recovery)


def snapshot(session: Session) -> str:
    """`pg_current_snapshot()` as text, such as `733:733:`; takes no transaction id, works on a replica."""
    with session.transaction() as transaction:
        return str(transaction.fetch(queries.SNAPSHOT)[0][0])
