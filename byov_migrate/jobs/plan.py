"""What would happen, and what would leave. Writes nothing anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from byov_migrate import source
from byov_migrate.config import Config, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.jobs.documents import VECTOR_NOTICE, Leaving, leaving, staying
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.source import Session

_NO_KEY = Digests(b"")
"""The reader needs keyed hashes to name rows; a plan names none, and must not make a key file."""


@dataclass(frozen=True, slots=True)
class TablePlan:
    """One table: how many rows match, what leaves and what is read and stays."""

    table: str
    label: str
    rows: int
    leaving: tuple[Leaving, ...]
    vectors: tuple[str, ...]
    staying: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlanResult:
    """The plan of every table, and the sentence that belongs beside it."""

    tables: tuple[TablePlan, ...]
    notice: str = VECTOR_NOTICE


def plan(config: Config, *, surroundings: Surroundings | None = None) -> PlanResult:
    """Count the rows and list what leaves, from the code that builds the bodies."""
    around = surroundings or Surroundings()
    with source.connect(config.source, around.environment) as session:
        return PlanResult(tuple(_table_plan(config, session, table) for table in config.tables))


def _table_plan(config: Config, session: Session, table: TableConfig) -> TablePlan:
    reader = source.open_table(session, table, _NO_KEY, config.tables.index(table))
    vectors = tuple(_vector_line(table, number) for number in range(len(table.embeddings)))
    return TablePlan(table.name, table.label, reader.count(), tuple(leaving(table)), vectors, tuple(staying(table)))


def _vector_line(table: TableConfig, number: int) -> str:
    item = table.embeddings[number]
    origin = (
        f"column {item.vector}"
        if item.vector
        else f"model {item.model} reading {item.text.source!r}"
        if item.text
        else ""
    )
    return f"{item.property_name}: {origin}"
