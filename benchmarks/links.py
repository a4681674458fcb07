"""Links at scale: `python benchmarks/links.py [--jobs 20000 200000] [--companies 5000] [--changes 2000]`.

Jobs with a foreign key to companies, without vectors. Stated: seconds and requests of the link phase; then, after
random changes of the foreign key and one sync, links missing and out of date, by listing all of them. Against the
RushDB that BYOV_TEST_RUSHDB_URL and BYOV_TEST_RUSHDB_API_KEY name, else against a sandbox of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg

from byov_migrate import backfill, sandbox, sync
from byov_migrate.config import Config, parse_config
from byov_migrate.jobs.demo.postgres import running_postgres
from byov_migrate.jobs.surroundings import Surroundings

KEY = "bench"


@contextlib.contextmanager
def target(folder: Path) -> Iterator[tuple[str, str]]:
    """URL and key of a RushDB."""
    if url := os.environ.get("BYOV_TEST_RUSHDB_URL"):
        yield url.rstrip("/").removesuffix("/api/v1"), os.environ["BYOV_TEST_RUSHDB_API_KEY"]
        return
    with sandbox.running(folder / "sandbox", KEY) as server:
        yield server.url, KEY


def configuration(folder: Path, url: str, mark: str) -> Config:
    """Two tables and the foreign key between them."""
    content = {
        "source": {"dsn": {"env": "DSN"}},
        "target": {"url": url, "api_key": {"env": "KEY"}},
        "tables": [
            {"name": "company", "label": f"Company{mark}", "columns": ["name"]},
            {"name": "job", "label": f"Job{mark}", "columns": ["title"]},
        ],
        "links": [{"type": f"AT_{mark}", "foreign_key": "job.job_company"}],
    }
    return parse_config(content, {}, base=folder, stem=f"links-{mark}")


def fill(dsn: str, jobs: int, companies: int) -> None:
    """Generated rows."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS job; DROP TABLE IF EXISTS company")
        connection.execute("CREATE TABLE company (id int PRIMARY KEY, name text)")
        connection.execute(
            "INSERT INTO company SELECT n, 'company ' || n FROM generate_series(1, %s::int) n", (companies,)
        )
        connection.execute(
            "CREATE TABLE job (id int PRIMARY KEY, title text,"
            " company_id int CONSTRAINT job_company REFERENCES company)"
        )
        connection.execute(
            "INSERT INTO job SELECT n, 'posting ' || n, n %% %s::int + 1 FROM generate_series(1, %s::int) n",
            (companies, jobs),
        )
        connection.execute("ANALYZE")


def records(client: httpx.Client, label: str) -> dict[str, str]:
    """Record id -> key."""
    found: dict[str, str] = {}
    total = 1
    while len(found) < total:
        body = {"labels": [label], "orderBy": {"__id": "asc"}, "limit": 1000, "skip": len(found)}
        answer = client.post("/records/search", json=body).json()
        total = answer["total"]
        found |= {row["__id"]: row["byovKey"] for row in answer["data"]}
    return found


def standing(client: httpx.Client, kind: str) -> list[tuple[str, str]]:
    """Ids of the ends of every link of a type."""
    found: list[tuple[str, str]] = []
    total = 1
    while len(found) < total:
        answer = client.post("/relationships/search", json={"where": {"type": kind}, "limit": 1000, "skip": len(found)})
        total = answer.json()["total"]
        found += [(row["sourceId"], row["targetId"]) for row in answer.json()["data"]]
    return found


def compare(dsn: str, url: str, key: str, mark: str) -> str:
    """Links missing and links too many."""
    with psycopg.connect(dsn) as connection:
        implied = set(connection.execute("SELECT id::text, company_id::text FROM job WHERE company_id IS NOT NULL"))
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=f"{url}/api/v1", headers=headers, trust_env=False, timeout=600) as client:
        keys = records(client, f"Job{mark}") | records(client, f"Company{mark}")
        found = [(keys.get(a, a), keys.get(b, b)) for a, b in standing(client, f"AT_{mark}")]
    return (
        f"{len(found):,} links, {len(implied - set(found))} missing, {len(found) - len(implied & set(found))} too many"
    )


def measure(dsn: str, url: str, key: str, folder: Path, sizes: tuple[int, int, int]) -> None:
    """Move, link, change, sync, and print a line each."""
    jobs, companies, changes = sizes
    mark = f"B{uuid.uuid4().hex[:6]}"
    fill(dsn, jobs, companies)
    config, around = configuration(folder, url, mark), Surroundings(environment={"DSN": dsn, "KEY": key})
    began = time.monotonic()
    [link] = backfill(config, surroundings=around).links
    total_s = time.monotonic() - began
    print(f"{jobs:,} jobs, {companies:,} companies: link phase {link.seconds:.1f} s of {total_s:.1f} s,", end=" ")
    print(f"{link.requests} requests, {link.stored:,} links, 1 join for {link.stored / max(link.requests / 2, 1):,.0f}")
    print(f"  after the backfill: {compare(dsn, url, key, mark)}", flush=True)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE job SET company_id = CASE WHEN random() < 0.1 THEN NULL ELSE 1 + floor(random() * %s)::int END"
            " WHERE id IN (SELECT id FROM job ORDER BY random() LIMIT %s)",
            (companies, changes),
        )
    began = time.monotonic()
    result = sync(config, surroundings=around)
    [link] = result.links
    print(f"  {changes:,} foreign keys changed, sync {time.monotonic() - began:.1f} s,", end=" ")
    print(f"{link.made:,} links made in {link.requests} requests: {compare(dsn, url, key, mark)}", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[20_000])
    parser.add_argument("--companies", type=int, default=5000)
    parser.add_argument("--changes", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        dsn = stack.enter_context(running_postgres(folder / "postgres"))
        url, key = stack.enter_context(target(folder))
        print(f"against {'a real RushDB' if key != KEY else 'the sandbox'}", flush=True)
        for jobs in given.jobs:
            measure(dsn, url, key, folder, (jobs, given.companies, given.changes))


if __name__ == "__main__":
    sys.exit(main())
