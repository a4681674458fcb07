"""Peak memory of a backfill of ready vectors at two sizes: `python benchmarks/memory.py [--rows 50000 500000]`.

Starts a PostgreSQL and a sandbox of its own and runs the installed command. What counts is the growth from size to
size.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from byov_migrate.jobs.demo.postgres import running_postgres

COMMAND = str(Path(sys.executable).with_name("byov-migrate"))
CONFIGURATION = """\
[source]
dsn = {{ file = "dsn" }}
[target]
url = "{url}"
api_key = {{ file = "key" }}
[[tables]]
name = "item"
label = "Item{rows}"
columns = ["id", "name", "price", "tags"]
where = ["id <= {rows}"]
[[tables.embeddings]]
property = "description"
vector = "embedding"
"""


def make_rows(dsn: str, rows: int, dimension: int) -> None:
    """Rows made by the database itself."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "create table item (id bigint primary key, name text, price float8, tags text[], embedding real[])"
        )
        connection.execute(
            "insert into item select n, 'item number ' || n, n / 4.0, array['a', 'b' || n %% 9],"
            " (select array_agg(sin(n * d)::real) from generate_series(1, %s) d) from generate_series(1, %s) n",
            (dimension, rows),
        )


def peak_mb(pid: int) -> float:
    """Highest resident set of a running process, in MB; 0 once it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(peaks[0]) / 1000 if peaks else 0.0


def measure(folder: Path, url: str, rows: int) -> tuple[float, float]:
    """Peak MB and seconds of one backfill."""
    config = folder / f"rows{rows}.toml"
    config.write_text(CONFIGURATION.format(url=url, rows=rows), encoding="utf-8")
    began, peak = time.monotonic(), 0.0
    process = subprocess.Popen([COMMAND, "backfill", "-q", "-c", str(config)])
    while process.poll() is None:
        peak = max(peak, peak_mb(process.pid))
        time.sleep(0.05)
    if process.returncode:
        sys.exit(f"the backfill ended {process.returncode}")
    return peak, time.monotonic() - began


def secret(path: Path, content: str) -> None:
    """A file of mode 0600."""
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")


def main() -> None:
    """Measure and print a line a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 500_000])
    parser.add_argument("--dimension", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_postgres(Path(name) / "postgres") as dsn:
        folder = Path(name)
        make_rows(dsn, max(options.rows), options.dimension)
        secret(folder / "dsn", dsn)
        secret(folder / "key", "bench")
        server = subprocess.Popen(
            [COMMAND, "sandbox", "--listen", "127.0.0.1:0", "--data", str(folder / "rushdb")],
            env={"BYOV_SANDBOX_API_KEY": "bench"},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            url = [server.stderr.readline() for _ in range(2)][1].strip() if server.stderr else ""
            for rows in options.rows:
                peak, seconds = measure(folder, url, rows)
                print(f"{rows:>9,} rows of {options.dimension}: peak {peak:.0f} MB, {seconds:.0f} s", flush=True)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
