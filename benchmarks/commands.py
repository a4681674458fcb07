"""Memory, plan, sync and verify, each by the benchmark of its own: `python benchmarks/commands.py [--full]`.

They print lines; the figures in them become rows here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import rig

HERE = Path(__file__).parent
URL = os.environ.get("BYOV_TEST_RUSHDB_URL")
PEAK = re.compile(r"([\d,]+) \S+.*: peak (\d+) MB(?:.*beyond it (-?\d+) MB)?")
SYNC = re.compile(r"(?m)^(.+): ([\d.]+) s, bare count\(\*\) ([\d.]+) s, ratio ([\d.]+);(.*)$")
VERIFY = re.compile(r"([\d,]+) rows of (\d+): verify ([\d.]+) s, ([\d.]+) of (.*)")
PLAN = re.compile(r"(\d+) of (\d+) backfills took what was promised; widest half (\d+)%")


def run(name: str, *arguments: str) -> str:
    """What one of them prints; it is shown as well."""
    command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(out, end="", file=sys.stderr)
    return out


def memory_of_vectors(*, full: bool) -> Iterator[rig.Finding]:
    """Growth with the table."""
    sizes = (50_000, 500_000) if full else (2000, 8000)
    peaks = [int(found[2]) for found in PEAK.finditer(run("memory", "--rows", *map(str, sizes)))]
    yield rig.Finding(
        f"peak memory of a backfill of ready vectors of 64, {sizes[0]:,} to {sizes[1]:,} rows",
        "<= 20 MB more",
        " and ".join(f"{peak} MB" for peak in peaks),
        f"{peaks[1] - peaks[0]:+d} MB",
        "sandbox",
        peaks[1] - peaks[0] <= 20,
    )


def memory_of_texts(*, full: bool) -> Iterator[rig.Finding]:
    """Beyond the loaded model."""
    rows = 20_000 if full else 300
    [found] = PEAK.finditer(run("memory", "--model", "--rows", str(rows)))
    yield rig.Finding(
        f"peak memory of a backfill of {rows:,} postings, beyond the loaded model",
        "<= 300 MB",
        f"{found[2]} MB in all",
        f"{found[3]} MB",
        "sandbox",
        int(found[3]) <= 300,
    )


def plan(*, full: bool) -> Iterator[rig.Finding]:
    """Whether a plan keeps its word."""
    rounds, postings = ("10", "2000") if full else ("1", "200")
    out = run("plan", "--rounds", rounds, "--postings", postings)
    for kept, tried, widest in PLAN.findall(out):
        yield rig.Finding(
            f"`plan` promises how long a backfill of {int(postings):,} postings takes, {tried} rounds",
            "9 of 10 within; no half wider than 30 %",
            f"{kept} of {tried} as promised",
            f"widest half {widest} %",
            "platform" if URL else "sandbox",
            int(kept) >= 0.9 * int(tried) and int(widest) <= 30,
        )


def sync(*, full: bool) -> Iterator[rig.Finding]:
    """What a sync costs beside a `count(*)`."""
    rows = 1_000_000 if full else 20_000
    out = run("sync", "--rows", str(rows), "--rounds", "5" if full else "2", "--changed", "1000" if full else "100")
    for what, mine, bare, ratio, rest in SYNC.findall(out):
        is_judged = "sweep" in what
        yield rig.Finding(
            f"`sync` of {rows:,} rows by {what}, against a bare `count(*)`",
            "<= 3 x" if is_judged else "",
            f"{mine} against {bare} s;{rest}",
            f"{ratio} x",
            "sandbox",
            float(ratio) <= 3 if is_judged else None,
        )


def verify(*, full: bool) -> Iterator[rig.Finding]:
    """Against a bare read of both ends; of each size the middle one of its rounds."""
    sizes = ("50000", "200000") if full else ("5000",)
    rounds: dict[str, list[tuple[str, ...]]] = {}
    there = ("--url", URL) if URL else ()
    for found in VERIFY.findall(run("verify", "--rows", *sizes, *there)):
        rounds.setdefault(found[0], []).append(found)
    for of_size in rounds.values():
        of_size.sort(key=lambda found: float(found[3]))
        rows, dimension, took, ratio, bare = of_size[len(of_size) // 2]
        yield rig.Finding(
            f"`verify` of {rows} rows of {dimension}, against a bare read of both ends",
            "<= 1.5 x",
            f"{took} s; {bare}",
            f"{ratio} x",
            "platform" if URL else "sandbox",
            float(ratio) <= 1.5,
        )


PARTS: tuple[Callable[..., Iterator[rig.Finding]], ...] = (memory_of_vectors, memory_of_texts, plan, sync, verify)


def measure(options: rig.Options) -> Iterator[rig.Finding]:
    """One that fails does not hide the others."""
    for part in PARTS:
        try:
            yield from part(full=options.full)
        except subprocess.CalledProcessError as error:
            yield rig.Finding(f"{part.__name__}: ended {error.returncode}", "", "", "", "sandbox", kept=False)


def main(arguments: Sequence[str] | None = None) -> list[rig.Finding]:
    """Measure and print."""
    return rig.run_alone(__doc__, measure, arguments)


if __name__ == "__main__":
    main()
