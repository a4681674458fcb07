"""`verify` against a bare read: `python benchmarks/verify.py [--rows 50000 200000] [--rounds 3] [--url URL]`.

Starts a PostgreSQL of its own and a sandbox, moves rows with ready vectors, then measures in turns:

* the bare read, one thing after the other: all rows with the columns that are compared; all records with their
  properties, in pages of 1,000; three exact searches that answer with all records;
* the command as installed, with its peak memory, and what it has before it reads anything.

A page is asked for by its slices: a page that is found by leaving out what came before costs more the further it is.
The ratio is to everything; the one to rows and searches alone stands beside it, since these searches answer with all
properties, and who has them need not list.

`--url` takes a RushDB that runs, with the key in BYOV_TEST_RUSHDB_API_KEY, in place of the sandbox; labels are new
ones, and are emptied at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import psycopg
from memory import COMMAND, SECRETS_AND_TARGET, Measured, make_rows, measure, sandbox, secret

from byov_migrate.digests import SLICES
from byov_migrate.jobs.demo.postgres import running_postgres

PAGE_ROWS = 1000
FULL = 0.85
"""Of a page: slices are even, and none may come back cut off."""
DELETE_IDS = 1000
ITEMS = """\
[[tables]]
name = "item"
label = "{label}"
columns = ["id", "name", "price", "tags"]
where = ["id <= {rows}"]
[[tables.embeddings]]
property = "description"
vector = "embedding"
"""


@dataclass(frozen=True)
class Bare:
    """Seconds of each part of the bare read."""

    source: float
    listing: float
    searches: float

    @property
    def all(self) -> float:
        """All parts, one after the other."""
        return self.source + self.listing + self.searches


@dataclass(frozen=True)
class Ends:
    """Where the rows are and where they were moved."""

    dsn: str
    url: str
    client: httpx.Client
    label: str
    rows: int
    dimension: int

    def ask(self, path: str, body: Mapping[str, Any]) -> Any:
        """What a route answers, decoded."""
        answer = self.client.post(f"{self.url}/api/v1{path}", json={"labels": [self.label], **body})
        answer.raise_for_status()
        return orjson.loads(answer.content)["data"]


def bare_read(ends: Ends) -> Bare:
    """Read all that a verify needs, and drop it."""
    return Bare(seconds_of(read_source, ends), seconds_of(list_all, ends), seconds_of(search_all, ends))


def seconds_of(read: Any, ends: Ends) -> float:
    """How long it takes. Ends the run when something was not read."""
    began = time.monotonic()
    seen = read(ends)
    if seen != ends.rows:
        sys.exit(f"{read.__name__} saw {seen} of {ends.rows}")
    return time.monotonic() - began


def read_source(ends: Ends) -> int:
    """All rows in binary; how many."""
    query = "SELECT id::text, name, price::text, tags::text[], array_send(embedding) FROM item WHERE id <= %s"
    with psycopg.connect(ends.dsn) as connection, connection.cursor(name="all", binary=True) as cursor:
        cursor.itersize = 1000
        cursor.execute(query, (ends.rows,))
        return sum(1 for _ in cursor)


def list_all(ends: Ends) -> int:
    """All records with their properties, in pages; how many."""
    count = max(1, int(len(SLICES) * PAGE_ROWS * FULL / ends.rows))
    return sum(
        len(ends.ask("/records/search", {"where": {"byovSlice": {"$in": some}}, "limit": PAGE_ROWS}))
        for some in (SLICES[start : start + count] for start in range(0, len(SLICES), count))
    )


def search_all(ends: Ends) -> int:
    """Three exact searches over all records; how many the least of them finds."""
    probes = np.random.default_rng(1).standard_normal((3, ends.dimension))
    body = {"propertyName": "description", "limit": ends.rows + 1, "sourceType": "external"}
    where = {"byovKey": {"$exists": True}}
    return min(len(ends.ask("/ai/search", {**body, "queryVector": probe.tolist(), "where": where})) for probe in probes)


def start_mb() -> float:
    """What the command takes with everything loaded and nothing read."""
    modules = "import byov_migrate.cli, byov_migrate.jobs.verify, byov_migrate.report.verifying"
    code = f"{modules}; from memory import memory_mb; print(memory_mb('self', 'VmHWM'))"
    return float(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=Path(__file__).parent).stdout
    )


def compare(folder: Path, ends: Ends, rounds: int) -> None:
    """Move, then read and prove in turns, and print a line a round and one for all."""
    config = folder / f"{ends.label}.toml"
    template = SECRETS_AND_TARGET + ITEMS
    config.write_text(template.format(url=ends.url, rows=ends.rows, label=ends.label), encoding="utf-8")
    subprocess.run([COMMAND, "backfill", "-q", "-c", str(config)], check=True, stdout=subprocess.DEVNULL)
    results = []
    for _ in range(rounds):
        bare, proof = bare_read(ends), measure([COMMAND, "verify", "-q", "-c", str(config)])
        results.append((bare, proof))
        tell(ends, bare, proof)
    ratios = [proof.seconds / bare.all for bare, proof in results]
    print(f"{ends.rows:>9,} rows: {statistics.median(ratios):.2f} of a bare read, the median of {rounds}", flush=True)


def tell(ends: Ends, bare: Bare, proof: Measured) -> None:
    """One round."""
    parts = f"rows {bare.source:.1f} s, records {bare.listing:.1f} s, three searches {bare.searches:.1f} s"
    searched = proof.seconds / (bare.source + bare.searches)
    print(
        f"{ends.rows:>9,} rows of {ends.dimension}: verify {proof.seconds:.1f} s, {proof.seconds / bare.all:.2f} of a"
        f" bare read ({parts}), {searched:.2f} without the listing; peak {proof.peak_mb:.0f} MB,"
        f" {proof.peak_mb - start_mb():.0f} MB beyond the start",
        flush=True,
    )


@contextlib.contextmanager
def target(folder: Path, url: str | None) -> Iterator[tuple[str, str]]:
    """URL and key: of the RushDB at `url`, else of a sandbox."""
    if url is not None:
        yield url, os.environ["BYOV_TEST_RUSHDB_API_KEY"]
        return
    with sandbox(folder / "rushdb") as started:
        yield started, "bench"


def empty(ends: Ends) -> None:
    """Remove what was moved, by id."""
    for label, where in ((ends.label, {}), ("ByovMigration", {"byovKey": ends.label})):
        while found := ends.ask("/records/search", {"labels": [label], "where": where, "limit": DELETE_IDS}):
            ids = [record["__id"] for record in found]
            ends.ask("/records/delete", {"labels": [label], "where": {"$id": {"$in": ids}}})
    for index in orjson.loads(ends.client.get(f"{ends.url}/api/v1/ai/indexes").content)["data"]:
        if index["label"] == ends.label:
            ends.client.delete(f"{ends.url}/api/v1/ai/indexes/{index['id']}")


def measure_all(folder: Path, options: argparse.Namespace) -> None:
    """A size after the other."""
    with running_postgres(folder / "postgres") as dsn, target(folder, options.url) as (url, key):
        make_rows(dsn, max(options.rows), options.dimension)
        secret(folder / "dsn", dsn)
        secret(folder / "key", key)
        headers = {"authorization": f"Bearer {key}"}
        with httpx.Client(trust_env=False, timeout=600, headers=headers) as client:
            for rows in options.rows:
                label = f"Item{rows}x{os.getpid()}"
                ends = Ends(dsn, url, client, label, rows, options.dimension)
                try:
                    compare(folder, ends, options.rounds)
                finally:
                    if options.url is not None:
                        empty(ends)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url", help="of a RushDB that runs, in place of the sandbox")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure_all(Path(name), options)


if __name__ == "__main__":
    main()
