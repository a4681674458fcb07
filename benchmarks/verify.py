"""`verify` against a bare read: `python benchmarks/verify.py [--rows 50000 200000]`.

Starts a PostgreSQL and a sandbox of its own, moves rows with ready vectors, then measures side by side: reading all
rows, and three exact searches that answer with all records; and the command as installed, with its peak memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import orjson
import psycopg
from memory import COMMAND, ITEMS, SECRETS_AND_TARGET, make_rows, measure, sandbox, secret

from byov_migrate.jobs.demo.postgres import running_postgres


def read_source(dsn: str, rows: int) -> float:
    """Seconds to read what a verify needs of all rows, in binary, and to drop it."""
    began = time.monotonic()
    query = "SELECT id::text, name, price::text, tags::text[], array_send(embedding) FROM item WHERE id <= %s"
    with psycopg.connect(dsn) as connection, connection.cursor(name="all", binary=True) as cursor:
        cursor.itersize = 1000
        cursor.execute(query, (rows,))
        seen = sum(1 for _ in cursor)
    if seen != rows:
        sys.exit(f"read {seen} of {rows} rows")
    return time.monotonic() - began


def search_all(url: str, label: str, rows: int, dimension: int) -> float:
    """Seconds for three exact searches over all records, decoded."""
    began = time.monotonic()
    with httpx.Client(trust_env=False, timeout=600, headers={"authorization": "Bearer bench"}) as client:
        for probe in np.random.default_rng(1).standard_normal((3, dimension)):
            body = {"labels": [label], "propertyName": "description", "queryVector": probe.tolist(), "limit": rows + 1}
            where = {"byovKey": {"$exists": True}}
            answer = client.post(f"{url}/api/v1/ai/search", json={**body, "sourceType": "external", "where": where})
            if len(orjson.loads(answer.content)["data"]) != rows:
                sys.exit("a search missed records")
    return time.monotonic() - began


def compare(folder: Path, dsn: str, url: str, rows: int, dimension: int) -> None:
    """Move, prove, and print a line."""
    config = folder / f"rows{rows}.toml"
    config.write_text((SECRETS_AND_TARGET + ITEMS).format(url=url, rows=rows), encoding="utf-8")
    subprocess.run([COMMAND, "backfill", "-q", "-c", str(config)], check=True, stdout=subprocess.DEVNULL)
    bare_s = [read_source(dsn, rows), search_all(url, f"Item{rows}", rows, dimension)]
    measured = measure([COMMAND, "verify", "-q", "-c", str(config)])
    ratio = measured.seconds / sum(bare_s)
    bare = f"bare read {bare_s[0]:.1f} s, three searches {bare_s[1]:.1f} s"
    print(
        f"{rows:>9,} rows of {dimension}: verify {measured.seconds:.1f} s, {ratio:.2f} of {bare}; {measured}",
        flush=True,
    )


def measure_all(folder: Path, sizes: Sequence[int], dimension: int) -> None:
    """A line a size."""
    with running_postgres(folder / "postgres") as dsn, sandbox(folder / "rushdb") as url:
        make_rows(dsn, max(sizes), dimension)
        secret(folder / "dsn", dsn)
        secret(folder / "key", "bench")
        for rows in sizes:
            compare(folder, dsn, url, rows, dimension)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--dimension", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure_all(Path(name), options.rows, options.dimension)


if __name__ == "__main__":
    main()
