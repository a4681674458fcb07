"""Reading ready vectors into numpy against COPY BINARY: `python benchmarks/reading.py [--full]`.

Our side reads pages by key, each in a transaction of its own, and checks every vector. The other side takes the same
two columns out by COPY BINARY in one go and leaves the bytes as they are.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial

import psycopg
import rig
from psycopg import sql

from byov_migrate.config import SourceConfig, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.jobs.ranges import PAGE_ROWS_READY
from byov_migrate.records import KeyRange, Row
from byov_migrate.source import connect, open_table

DIMENSION = 768


def read_s(dsn: str, table: str, rows: int) -> float:
    """Seconds to read every row of a table of ready vectors."""
    embedding = {"property": "p", "vector": "embedding"}
    config = TableConfig.model_validate({"name": table, "label": "T", "columns": ["id"], "embeddings": [embedding]})
    with connect(SourceConfig.model_validate({"dsn": {"env": "DSN"}}), {"DSN": dsn}) as session:
        reader = open_table(session, config, Digests(b"k" * 32))
        began = time.monotonic()
        read = sum(
            isinstance(row, Row) and len(row.contents) == 1
            for page in reader.pages(KeyRange(0, None, None), PAGE_ROWS_READY)
            for row in page.rows
        )
        took = time.monotonic() - began
    if read != rows:
        raise SystemExit(f"read {read} of {rows} rows")
    return took


def copy_s(dsn: str, table: str) -> float:
    """Seconds of COPY BINARY."""
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        query = sql.SQL("copy (select id, embedding from {}) to stdout (format binary)").format(sql.Identifier(table))
        began = time.monotonic()
        with cursor.copy(query) as copy:
            for _ in copy:
                pass
        return time.monotonic() - began


def measure(options: rig.Options) -> Iterator[rig.Finding]:
    """`real[]`, and `vector` where the server has pgvector."""
    rows = 100_000 if options.full else 5000
    with rig.place(with_server=False) as place:
        rig.make_items(place.dsn, rows, DIMENSION)
        kinds = {"real[]": "item"}
        with psycopg.connect(place.dsn, autocommit=True) as connection:
            if connection.execute("select 1 from pg_available_extensions where name = 'vector'").fetchone():
                connection.execute("create extension vector")
                connection.execute(f"create table item_vector (id bigint primary key, embedding vector({DIMENSION}))")
                connection.execute("insert into item_vector select id, embedding::vector from item")
                connection.execute("analyze item_vector")
                kinds["vector"] = "item_vector"
        for kind, table in kinds.items():
            took = rig.alternate(
                options.rounds,
                read=partial(read_s, place.dsn, table, rows),
                copy=partial(copy_s, place.dsn, table),
            )
            ratio = took["copy"] / took["read"]
            yield rig.Finding(
                f"reading {rows:,} rows of `{kind}` of {DIMENSION} into numpy against COPY BINARY",
                ">= 0.5",
                f"{rows / took['read']:,.0f} against {rows / took['copy']:,.0f} rows/s",
                f"{ratio:.2f}",
                "none",
                ratio >= 0.5,
            )


def main(arguments: Sequence[str] | None = None) -> list[rig.Finding]:
    """Measure and print."""
    return rig.run_alone(__doc__, measure, arguments)


if __name__ == "__main__":
    main()
