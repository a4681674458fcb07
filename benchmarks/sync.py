"""What a sync costs: `python benchmarks/sync.py [--rows 1000000] [--changed 1000]`.

Starts a PostgreSQL and a sandbox of its own, fills a table with ready vectors of 16 dimensions, and syncs it by
`changed_by` and by transaction ids: nothing changed, some rows changed, deletes looked for. Beside each time stands
that of a bare `count(*)` of the same table, measured in the same sitting.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg

from byov_migrate import backfill, sandbox
from byov_migrate.config import Config, parse_config
from byov_migrate.jobs.demo.postgres import running_postgres
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.sync import TableSync, sync
from byov_migrate.source import pages
from byov_migrate.target.http import HttpClient

KEY = "key-of-a-benchmark"
READS = ("/records/search", "/ai/search")


@dataclass
class Counts:
    """What crossed the two seams: requests that write, and rows read by key or page."""

    writes: int = 0
    rows_read: int = 0
    _undo: list[Callable[[], None]] = field(default_factory=list)

    def __enter__(self) -> Self:
        call, select = HttpClient.call, pages._select  # noqa: SLF001 - counted where they happen

        def counted_call(client: HttpClient, method: str, path: str, *rest: Any, **options: Any) -> Any:
            self.writes += method != "GET" and not path.endswith(READS)
            return call(client, method, path, *rest, **options)

        def counted_select(*arguments: Any, **options: Any) -> Any:
            found = select(*arguments, **options)
            self.rows_read += len(found)
            return found

        HttpClient.call = counted_call  # type: ignore[method-assign]
        pages._select = counted_select  # noqa: SLF001
        self._undo = [lambda: setattr(HttpClient, "call", call), lambda: setattr(pages, "_select", select)]
        return self

    def __exit__(self, *_: object) -> None:
        for undo in self._undo:
            undo()


@dataclass
class Bench:
    """One table between a PostgreSQL and a sandbox."""

    folder: Path
    dsn: str
    url: str
    now: float = 1_000_000.0

    def config(self, label: str, **table: Any) -> Config:
        """The table under a label of its own, so that strategies do not share a state."""
        content = {
            "source": {"dsn": {"env": "DSN"}},
            "target": {"url": self.url, "api_key": {"env": "KEY"}},
            "state": {"url": f"sqlite:///{label}.state.db", "hash_key": {"file": "hash-key"}},
            "tables": [
                {
                    "name": "item",
                    "label": label,
                    "columns": ["id", "name"],
                    "embeddings": [{"property": "description", "vector": "embedding"}],
                    **table,
                }
            ],
        }
        return parse_config(content, {}, base=self.folder, stem=label)

    def around(self) -> Surroundings:
        """A clock that is moved by hand: what is due is decided here."""
        return Surroundings(environment={"DSN": self.dsn, "KEY": KEY}, clock=lambda: self.now)

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        """Change the source."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement, parameters)

    def sync(self, config: Config) -> tuple[TableSync, Counts]:
        """One sync, counted."""
        with Counts() as counts:
            [done] = sync(config, surroundings=self.around()).tables
        return done, counts

    def bare_count_s(self) -> float:
        """Seconds of `count(*)`."""
        with psycopg.connect(self.dsn) as connection:
            began = time.monotonic()
            connection.execute("SELECT count(*) FROM item")
            return time.monotonic() - began


def compare(bench: Bench, name: str, config: Config, rounds: int, before: Callable[[], None]) -> None:
    """Rounds of a sync and a bare count in turn; print medians and ratio."""
    syncs, counts, done, crossed = [], [], None, Counts()
    for _ in range(rounds):
        before()
        began = time.monotonic()
        done, crossed = bench.sync(config)
        syncs.append(time.monotonic() - began)
        counts.append(bench.bare_count_s())
    mine, bare = statistics.median(syncs), statistics.median(counts)
    assert done is not None  # noqa: S101
    print(
        f"{name}: {mine:.2f} s, bare count(*) {bare:.2f} s, ratio {mine / bare:.1f};"
        f" {crossed.rows_read:,} rows read, {done.changes:,} changes, {crossed.writes:,} writing requests"
    )


@contextlib.contextmanager
def made(rows: int) -> Iterator[Bench]:
    """Both servers, and the table."""
    with (
        tempfile.TemporaryDirectory(prefix="byov-bench-") as folder,
        running_postgres(Path(folder) / "postgres") as dsn,
        sandbox.running(Path(folder) / "sandbox", KEY) as target,
    ):
        bench = Bench(Path(folder), dsn, target.url)
        bench.execute(
            "CREATE TABLE item (id bigint PRIMARY KEY, name text, hits int NOT NULL DEFAULT 0,"
            " changed timestamptz NOT NULL DEFAULT now(), embedding real[])"
        )
        bench.execute(
            "INSERT INTO item SELECT n, 'item ' || n, 0, now() - interval '1 day',"
            " (SELECT array_agg(sin(n * d)::real) FROM generate_series(1, 16) d) FROM generate_series(1, %s) n",
            (rows,),
        )
        bench.execute("CREATE INDEX ON item (changed)")
        bench.execute("VACUUM ANALYZE item")
        yield bench


def main() -> None:
    """Measure, and print a line a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--changed", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with made(given.rows) as bench:
        strategies: dict[str, dict[str, Any]] = {
            "watermark": {"strategy": "watermark", "changed_by": "changed", "overlap": "1s"},
            "window": {"strategy": "window"},
        }
        for name, table in strategies.items():
            config = bench.config(name.capitalize(), **table)
            began = time.monotonic()
            backfill(config, surroundings=bench.around())
            print(f"{name}: backfill of {given.rows:,} rows {time.monotonic() - began:.0f} s (sandbox)")
            bench.sync(config)
            time.sleep(2.5)
            bench.sync(config)
            measure(bench, name, config, given.changed, given.rounds)


def measure(bench: Bench, name: str, config: Config, changed: int, rounds: int) -> None:
    """The cases of one strategy."""

    def nothing() -> None:
        time.sleep(0.1)

    def some_change() -> None:
        time.sleep(2.5)  # beyond overlap and slack, so that the last round's rows are not looked at again
        bench.execute(
            "UPDATE item SET name = name || '.', changed = now()"
            " WHERE id IN (SELECT n * 7 FROM generate_series(1, %s) n)",
            (changed,),
        )

    def sweep_due() -> None:
        bench.now += 3601

    compare(bench, f"{name}, nothing changed", config, rounds, nothing)
    compare(bench, f"{name}, due sweep that finds equality", config, rounds, sweep_due)
    compare(bench, f"{name}, {changed:,} changed", config, min(rounds, 2), some_change)


if __name__ == "__main__":
    main()
