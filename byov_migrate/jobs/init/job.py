"""A first configuration out of the catalogue and of figures about some rows. Reads PostgreSQL alone; writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from byov_migrate import source
from byov_migrate.config import SourceConfig
from byov_migrate.errors import ConfigurationError, Fatal, MigrationError, Retriable
from byov_migrate.jobs.init.joining import Joins, find_links, find_nodes, is_join_table, joining_tables
from byov_migrate.jobs.init.judging import judge
from byov_migrate.jobs.init.proposal import ProposedTable, SurveyedTable, propose
from byov_migrate.jobs.init.writing import Proposal, rows_text, write
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.source import Session
from byov_migrate.source.sampling import sample_columns
from byov_migrate.source.survey import (
    COUNTED_ROWS,
    ForeignKey,
    FoundTable,
    count_up_to,
    find_table,
    find_tables,
    foreign_keys,
    provisional,
    readable_columns,
)

MOST_TABLES = 5
VARIABLE = "DATABASE_URL"
TLS: Final = ("verify-full", "verify-ca", "insecure")


@dataclass(frozen=True, slots=True)
class InitResult:
    """The configuration as text, and what a person should know of it. `export`: what DATABASE_URL has to be set to."""

    text: str
    tables: tuple[ProposedTable, ...]
    links: int
    nodes: tuple[str, ...]  # labels
    others: Mapping[str, str]  # table -> how many rows, or why it cannot be migrated
    needs_model: bool
    export: str | None = None


@dataclass(frozen=True, slots=True)
class _Connection:
    config: SourceConfig
    environment: Mapping[str, str]
    export: str | None = None


def init(
    *,
    dsn: str | None = None,
    tables: Sequence[str] = (),
    tls: str = "verify-full",
    ca_file: Path | None = None,
    surroundings: Surroundings | None = None,
) -> InitResult:
    """Look at the database and propose a configuration for the tables named, or for those with most to search.

    Without `dsn`: DATABASE_URL, else PG* variables, a service or a password file, as psql reads them.
    Raise ConfigurationError for a password in `dsn`, for an unknown table, and when nothing could be migrated.
    """
    around = surroundings or Surroundings()
    if tls not in TLS:
        raise ConfigurationError(f"--tls is one of {', '.join(TLS)}")
    connection = _connection(dsn, around.environment, {"tls": tls, "ca_file": ca_file})
    with source.connect(connection.config, connection.environment) as session:
        identity = source.source_identity(session)
        version = f"{session.server_version // 10000}.{session.server_version % 10000}"
        keys = foreign_keys(session)
        surveyed, others = _survey(session, tables, keys)
        chosen = _choose(surveyed, others, named=bool(tables))
        joins = _joins(session, surveyed, chosen, keys)
    proposed = _propose(chosen, others, keys)
    nodes = find_nodes(proposed)
    links = find_links(joins, chosen, proposed, nodes)
    proposal = Proposal(identity.database, version, connection.config, proposed, nodes, links, others)
    return InitResult(
        text=write(proposal),
        tables=proposed,
        links=sum(not link.problem for link in links),
        nodes=tuple(node.label for node in nodes),
        others=others,
        needs_model=proposal.needs_model,
        export=connection.export,
    )


def _connection(dsn: str | None, environment: Mapping[str, str], tls: Mapping[str, object]) -> _Connection:
    config = SourceConfig.model_validate({"dsn": {"env": VARIABLE}, **tls}, context={"base": Path()})
    if dsn is not None:
        _refuse_password(dsn)
        return _Connection(config, {VARIABLE: dsn}, dsn)
    if environment.get(VARIABLE, "").strip():
        return _Connection(config, environment)
    if any(name.startswith("PG") for name in environment):
        return _Connection(config, {VARIABLE: "postgresql://"}, "postgresql://")
    raise ConfigurationError(
        f"which database? Set {VARIABLE}, or PGHOST, PGDATABASE and PGUSER, or PGSERVICE, or give --dsn without a"
        " password"
    )


def _refuse_password(dsn: str) -> None:
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.Error:
        given = {}  # told when it is connected to, without libpq's text, which quotes it
    if any(name.endswith("password") for name in given):
        raise ConfigurationError(
            "--dsn holds a password, and whoever uses this machine can read it in the list of processes; put the"
            f" whole address into {VARIABLE}, or leave the password out here and have it in ~/.pgpass"
        )


def _survey(
    session: Session, names: Sequence[str], keys: Sequence[ForeignKey]
) -> tuple[list[SurveyedTable], dict[str, str]]:
    """The tables that could be migrated, and why others could not. Of tables that are named a reason is an error."""
    found = [find_table(session, name) for name in names] or find_tables(session)
    others: dict[str, str] = {}
    surveyed = []
    for table in dict.fromkeys(found):
        if not names and is_join_table(table.oid, keys):
            others[table.written] = "only joins other tables"
            continue
        try:
            surveyed.append(_look(session, table))
        except (Fatal, Retriable) as error:
            if names:
                raise
            others[table.written] = _first_reason(error)
    return surveyed, others


def _look(session: Session, table: FoundTable) -> SurveyedTable:
    columns = readable_columns(session, table)
    if not columns:
        raise ConfigurationError(f"the role may not read {table.written}", next_step=f"GRANT SELECT ON {table.written}")
    shape = source.describe_table(session, provisional(table, columns))
    counted = count_up_to(session, shape)
    rows = counted if counted <= COUNTED_ROWS else max(counted, shape.estimated_rows)
    samples = sample_columns(session, shape, rows)
    judged = (judge(table.name, shape.columns[name], samples[name]) for name in columns)
    return SurveyedTable(table, shape, tuple(judged), rows)


def _first_reason(error: MigrationError) -> str:
    """One line, without the key path of an entry that nobody has written."""
    line = str(error).splitlines()[-1].strip()
    return line.partition(": ")[2] if line.startswith("tables[") else line


def _choose(surveyed: Sequence[SurveyedTable], others: dict[str, str], *, named: bool) -> list[SurveyedTable]:
    """All that are named; else those with long text or vectors, most text first; else the one with most short text."""
    if named:
        return list(surveyed)
    rich = [table for table in surveyed if table.is_rich and table.rows]
    chosen = sorted(rich, key=lambda table: -table.long_characters)[:MOST_TABLES]
    if not chosen:
        chosen = sorted((table for table in surveyed if table.short_texts), key=_short_characters, reverse=True)[:1]
    if not chosen:
        chosen = sorted(surveyed, key=lambda table: -table.rows)[:1]
    for table in surveyed:
        if table not in chosen:
            others[table.found.written] = rows_text(table.rows) + (", with long text" if table.is_rich else "")
    return chosen


def _joins(
    session: Session, surveyed: Sequence[SurveyedTable], chosen: Sequence[SurveyedTable], keys: Sequence[ForeignKey]
) -> Joins:
    """With the columns of the tables that join two chosen ones, which were not looked at themselves."""
    oids = {table.found.oid for table in chosen}
    columns = {
        first.table: readable_columns(session, FoundTable(first.table, first.schema, first.relation))
        for first, second in joining_tables(keys)
        if {first.target, second.target} <= oids
    }
    return Joins({table.found.oid: table.found for table in surveyed}, keys, columns)


def _short_characters(table: SurveyedTable) -> float:
    return table.rows * sum(item.sample.mean_length for item in table.short_texts)


def _propose(
    chosen: Sequence[SurveyedTable], others: dict[str, str], foreign: Sequence[ForeignKey]
) -> tuple[ProposedTable, ...]:
    proposed: list[ProposedTable] = []
    for table in chosen:
        keys = {column.name for column in table.shape.key}
        hashed = any(item.personal for item in table.judged if item.name in keys)
        references = {column for key in foreign if key.table == table.found.oid for column in key.columns}
        made = propose(table, {item.label for item in proposed}, references, hash_key_values=hashed)
        if made.columns:
            proposed.append(made)
        else:
            others[made.name] = "no column is left that could be sent"
    if not proposed:
        raise ConfigurationError(f"nothing here can be migrated{_listed(others)}")
    return tuple(proposed)


def _listed(others: Mapping[str, str]) -> str:
    lines = [f"{name}: {why}" for name, why in list(others.items())[:10]]
    return "".join(f"\n  {line}" for line in lines) or ": the role sees no table"
