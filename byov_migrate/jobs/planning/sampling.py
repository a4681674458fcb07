"""Rows drawn evenly over a table without reading it, and every row where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from psycopg import sql

from byov_migrate.records import KeyRange, Rejected, Row
from byov_migrate.source import TableReader
from byov_migrate.source.conditions import selection
from byov_migrate.source.statements import listed

SAMPLE_ROWS = 2000
SAMPLE_BYTES = 64_000_000
"""Of text at most: rows may hold whole books."""
READ_WHOLE = 20_000
"""Up to so many rows a table is passed over as a whole; only the sample travels."""
BERNOULLI_ROWS = 500_000
"""Up to here rows are drawn one by one, which reads every page; above it pages are drawn, and all their rows."""
SPARE = 4
"""Drawn for each row wanted: rows of one page resemble each other, so only a part of each is taken."""
_SAMPLED_KINDS = "rpm"  # a view, a foreign table and the distinct values of a column cannot be sampled


@dataclass(frozen=True, slots=True)
class SampledRow:
    """A row, and the columns whose text stays at home, by name."""

    row: Row
    withheld: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows of a table in random order. `is_whole`: they are all there are."""

    rows: tuple[SampledRow, ...]
    rejected: tuple[Rejected, ...]
    population: int

    @property
    def size(self) -> int:
        """Rows drawn, rejected ones too."""
        return len(self.rows) + len(self.rejected)

    @property
    def is_whole(self) -> bool:
        """Whether every row was drawn."""
        return self.size >= self.population


def draw_sample(reader: TableReader, population: int, withheld: tuple[str, ...], wanted: int = SAMPLE_ROWS) -> Sample:
    """Draw rows that the configuration selects, `population` of them; the same ones while the table is the same.

    withheld: columns whose text is kept beside each row.
    """
    found = _draw(reader, withheld, wanted, _spread(reader, population, wanted))
    if len(found) < min(wanted, population) // 2 and population > READ_WHOLE:  # rows of `where` may lie in a few pages
        found = _draw(reader, withheld, wanted, sql.SQL(""))
    rows = tuple(item for item in found if isinstance(item, SampledRow))
    rejected = tuple(item for item in found if isinstance(item, Rejected))
    return Sample(rows, rejected, max(population, len(found)))


def every_row(reader: TableReader, page_rows: int) -> Iterator[tuple[Row | Rejected, ...]]:
    """All rows, page by page, in short transactions."""
    for page in reader.pages(KeyRange(0, None, None), page_rows):
        yield page.rows


def _spread(reader: TableReader, population: int, wanted: int) -> sql.Composable:
    is_relation = reader.shape.kind in _SAMPLED_KINDS and reader.shape.derived is None
    if population <= READ_WHOLE or not is_relation:
        return sql.SQL("")
    method = sql.SQL("BERNOULLI" if population <= BERNOULLI_ROWS else "SYSTEM")
    share = min(100.0 * SPARE * wanted / population, 100.0)
    return sql.SQL(" TABLESAMPLE {} ({}) REPEATABLE (1)").format(method, sql.Literal(share))


def _draw(
    reader: TableReader, withheld: tuple[str, ...], wanted: int, spread: sql.Composable
) -> list[SampledRow | Rejected]:
    """Rows in the order of a hash of their keys, which no order of the table has anything to do with."""
    rows, chosen = reader.rows_reader, selection(reader.shape, reader.table)
    query = sql.SQL("SELECT {} FROM {}{} WHERE {} ORDER BY hashtextextended(ROW({})::text, 0) LIMIT {}").format(
        listed(rows.expressions),
        reader.shape.from_item,
        spread,
        chosen.text,
        listed(reader.shape.key_identifiers),
        sql.Literal(wanted),
    )
    places = [(column, rows.fields[column, "text"]) for column in withheld]
    found: list[SampledRow | Rejected] = []
    held = 0
    with (
        reader.session.transaction(statement_timeout_s=0) as transaction,
        closing(transaction.stream(query, chosen.parameters, batch_rows=250)) as stream,  # type: ignore[type-var]
    ):
        for selected in stream:
            read = rows.read(selected)
            texts = tuple((column, selected[place]) for column, place in places if selected[place])
            found.append(SampledRow(read, texts) if isinstance(read, Row) else read)
            held += sum(len(part) for part in selected if isinstance(part, str | bytes))
            if held > SAMPLE_BYTES:
                break
    return found
