"""Peak memory of a backfill: `python benchmarks/memory.py [--rows 50000 500000]`, `... --model [--rows 20000]`.

Starts a PostgreSQL and a sandbox of its own. Of ready vectors what counts is the growth from size to size; with the
demo's model and generated postings it is what the backfill takes beyond the loaded model.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from byov_migrate.jobs.demo.postgres import running_postgres

COMMAND = str(Path(sys.executable).with_name("byov-migrate"))
SECRETS_AND_TARGET = """\
[source]
dsn = {{ file = "dsn" }}
[target]
url = "{url}"
api_key = {{ file = "key" }}
"""
ITEMS = """\
[[tables]]
name = "item"
label = "Item{rows}"
columns = ["id", "name", "price", "tags"]
where = ["id <= {rows}"]
[[tables.embeddings]]
property = "description"
vector = "embedding"
"""
POSTINGS = """\
[models.demo]
path = "{model}"
device = "{device}"
[[tables]]
name = "public.job"
label = "{label}"
columns = ["id", "title", "company", "location", "salary_min", "salary_max", "skills", "remote"]
where = ["id <= {rows}"]
[[tables.embeddings]]
property = "description"
text = "{{title}}\\n{{description}}"
model = "demo"
"""
LOADED = "loaded "
WARMING_TEXTS, WARMING_WORDS = 8, 300
"""More tokens than a text may have, eight times: one full batch of a CPU."""


@dataclass(frozen=True)
class Measured:
    """Of one backfill. `loaded_mb`: once the model was loaded and had embedded one batch; 0 without a model."""

    peak_mb: float
    loaded_mb: float
    seconds: float

    def __str__(self) -> str:
        beyond = f", loaded model {self.loaded_mb:.0f} MB, beyond it {self.peak_mb - self.loaded_mb:.0f} MB"
        return f"peak {self.peak_mb:.0f} MB{beyond if self.loaded_mb else ''}, {self.seconds:.0f} s"


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


def make_postings(dsn: str, rows: int) -> None:
    """Generated postings."""
    from byov_migrate.jobs.demo.postings import create_jobs_schema, fill

    create_jobs_schema(dsn)
    fill(dsn, rows)


def memory_mb(pid: int | str, what: str) -> float:
    """`VmRSS` (now) or `VmHWM` (highest so far) of a running process, in MB; 0 once it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    found = [line.split()[1] for line in status.splitlines() if line.startswith(what)]
    return int(found[0]) / 1000 if found else 0.0


def measure(command: Sequence[str]) -> Measured:
    """Run a backfill to its end."""
    began, peak = time.monotonic(), 0.0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while process.poll() is None:
        peak = max(peak, memory_mb(process.pid, "VmHWM"))
        time.sleep(0.05)
    said = process.communicate()[0]
    if process.returncode:
        sys.exit(f"the backfill ended {process.returncode}")
    loaded = [float(line.removeprefix(LOADED)) for line in said.splitlines() if line.startswith(LOADED)]
    return Measured(peak, sum(loaded), time.monotonic() - began)


def run_watched(arguments: Sequence[str]) -> None:
    """Be the installed command, and say how large this process is once the model has embedded one batch."""
    from byov_migrate import embed
    from byov_migrate.cli import main as run_command

    load = embed.load_encoder

    def load_and_warm(config: Any) -> embed.Encoder:
        encoder = load(config)
        encoder.encode_documents(
            [f"text {number} of words" + " word" * WARMING_WORDS for number in range(WARMING_TEXTS)]
        )
        print(f"{LOADED}{memory_mb('self', 'VmRSS')}", flush=True)
        return encoder

    embed.load_encoder = load_and_warm
    sys.argv = [COMMAND, *arguments]
    run_command()


@contextlib.contextmanager
def sandbox(data: Path) -> Iterator[str]:
    """A sandbox in a process of its own; yields its URL."""
    server = subprocess.Popen(
        [COMMAND, "sandbox", "--listen", "127.0.0.1:0", "--data", str(data)],
        env={"BYOV_SANDBOX_API_KEY": "bench"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield [server.stderr.readline() for _ in range(2)][1].strip() if server.stderr else ""
    finally:
        server.terminate()
        server.wait()


def secret(path: Path, content: str) -> None:
    """A file of mode 0600."""
    path.touch(mode=0o600)
    path.write_text(content, encoding="utf-8")


def measure_all(folder: Path, dsn: str, sizes: Sequence[int], dimension: int, *, with_model: bool) -> None:
    """A line a size."""
    model = ""
    if with_model:
        from byov_migrate.jobs.demo.model import demo_model

        make_postings(dsn, max(sizes))
        model = str(demo_model())
    else:
        make_rows(dsn, max(sizes), dimension)
    secret(folder / "dsn", dsn)
    secret(folder / "key", "bench")
    start = [sys.executable, __file__, "--be-the-command"] if with_model else [COMMAND]
    with sandbox(folder / "rushdb") as url:
        for rows in sizes:
            config = folder / f"rows{rows}.toml"
            template = SECRETS_AND_TARGET + (POSTINGS if with_model else ITEMS)
            config.write_text(
                template.format(url=url, rows=rows, label=f"Job{rows}", model=model, device="cpu"), encoding="utf-8"
            )
            measured = measure([*start, "backfill", "-q", "-c", str(config)])
            print(f"{rows:>9,} {'postings' if with_model else f'rows of {dimension}'}: {measured}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+")
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--model", action="store_true", help="embed postings instead of moving ready vectors")
    options = parser.parse_args()
    sizes = options.rows or ([20_000] if options.model else [50_000, 500_000])
    with tempfile.TemporaryDirectory() as name, running_postgres(Path(name) / "postgres") as dsn:
        measure_all(Path(name), dsn, sizes, options.dimension, with_model=options.model)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--be-the-command"]:
        run_watched(sys.argv[2:])
    else:
        main()
