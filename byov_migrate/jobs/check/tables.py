"""One entry against the catalogue: what fits, what would be rejected, how changes will be told."""

from __future__ import annotations

from collections.abc import Iterator

from byov_migrate import source
from byov_migrate.config import Entry, TableConfig
from byov_migrate.errors import ConfigurationError
from byov_migrate.jobs.check.findings import Finding, Speaker
from byov_migrate.jobs.check.seen import Seen
from byov_migrate.source import Cursor, NoStrategy, Session, TableShape
from byov_migrate.source.activity import read_activity
from byov_migrate.source.circumstances import read_circumstances
from byov_migrate.source.cursor import read_cursor
from byov_migrate.source.reader import vector_dimensions
from byov_migrate.source.strategy import choose
from byov_migrate.source.survey import COUNTED_ROWS, count_up_to, has_form
from byov_migrate.source.values import as_text


def look_at_table(session: Session, entry: Entry, seen: Seen, speaker: Speaker) -> Iterator[Finding]:
    """Raise what the catalogue raises: unknown columns, bad filters, missing privileges, hidden rows."""
    shape = source.describe_table(session, entry)
    seen.shapes[entry.name] = shape
    if entry.distinct is not None:
        yield _node(session, entry, shape, seen, speaker)
        return
    seen.rows[entry.name] = rows = shape.estimated_rows or count_up_to(session, shape)
    yield _described(shape, rows, speaker, entry.path)
    yield from _formless(entry, shape, speaker, entry.path)
    yield from _names(entry, speaker, entry.path)
    yield from _vectors(session, entry, shape, seen, speaker, entry.path)
    yield _strategy(session, entry, shape, speaker, entry.path)


def _node(session: Session, entry: Entry, shape: TableShape, seen: Seen, speaker: Speaker) -> Finding:
    """The values of a large table are not counted: it would have to be read."""
    counted = count_up_to(session, shape) if shape.estimated_rows <= COUNTED_ROWS else None
    seen.rows[entry.name] = counted or 0
    values = "its values were not counted" if counted is None else f"{counted:,} different values"
    name = entry.outgoing_name(entry.distinct or "")
    if not name.isidentifier():
        what = f"the property {name!r} is no identifier: each query has to quote it"
        return speaker.warn("node-property", what, f"give it another name in {entry.path}.property", entry.path)
    return speaker.ok("node", f"column {entry.distinct} of {entry.owner}: {values}, a record each")


def _described(shape: TableShape, rows: int, speaker: Speaker, path: str) -> Finding:
    key = ", ".join(column.name for column in shape.key)
    counted = f"about {rows:,} rows"
    if shape.proven:
        return speaker.ok("table", f"{counted}; key ({key}); every column and filter fits")
    return speaker.warn(
        "table-key",
        f"{counted}; no index keeps the key ({key}) unique, so each backfill proves it",
        place=f"{path}.key",
    )


def _formless(table: TableConfig, shape: TableShape, speaker: Speaker, path: str) -> Iterator[Finding]:
    for number, name in enumerate(table.columns):
        column = shape.columns[name]
        if has_form(column, table.types.get(name)):
            continue
        what = f"column {name} is {column.declared}, which has no exact form in RushDB: each row with a value in it"
        error = ConfigurationError(f"{what} would be rejected", next_step=f"{as_text(name)}, or leave it out")
        yield speaker.fail("table-type", error, f"{path}.columns[{number}]")


def _names(table: TableConfig, speaker: Speaker, path: str) -> Iterator[Finding]:
    for number, column in enumerate(table.columns):
        name = table.outgoing_name(column)
        if not name.isidentifier():
            what = f"the property {name!r} is no identifier: each query has to quote it"
            yield speaker.warn(
                "table-property", what, f"give it another name in {path}.rename", f"{path}.columns[{number}]"
            )


def _vectors(
    session: Session, table: TableConfig, shape: TableShape, seen: Seen, speaker: Speaker, path: str
) -> Iterator[Finding]:
    dimensions = vector_dimensions(session, shape, table)
    for number, (embedding, dimension) in enumerate(zip(table.embeddings, dimensions, strict=True)):
        if embedding.vector is None:
            continue
        if dimension is None:
            error = ConfigurationError(f"column {embedding.vector} holds no vector, so their dimension is unknown")
            yield speaker.fail("table-vector", error, f"{path}.embeddings[{number}].vector")
            continue
        seen.dimensions[table.name, embedding.carrier] = dimension
        yield speaker.ok("table-vector", f"column {embedding.vector} holds vectors of {dimension} dimensions")


def _strategy(session: Session, table: TableConfig, shape: TableShape, speaker: Speaker, path: str) -> Finding:
    found = choose(shape, table, read_circumstances(session, shape, table), _cursor(session), shape.estimated_rows)
    if isinstance(found, NoStrategy):
        what = f"sync cannot tell changes from the rest: {'; '.join(found.reasons)}"
        return speaker.warn("table-changes", what, "byov-migrate sync --full reads every row", f"{path}.strategy")
    if found.warning:
        return speaker.warn("table-changes", f"sync by {found.kind}, {found.guarantee}; {found.warning}")
    return speaker.ok("table-changes", f"sync by {found.kind}, {found.guarantee}")


def _cursor(session: Session) -> Cursor:
    """Where a sync would begin if the backfill began now."""
    activity = read_activity(session)
    with session.transaction("repeatable read") as transaction:
        return read_cursor(transaction, activity, None)
