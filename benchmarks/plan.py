"""Does a plan keep its word? `python benchmarks/plan.py [--rounds 3] [--postings 2000]`.

Starts a PostgreSQL and a sandbox, or takes the RushDB of BYOV_TEST_RUSHDB_URL and BYOV_TEST_RUSHDB_API_KEY; fills
generated postings; then in each round asks the command for a plan and times a backfill of the same table into a label
of its own. Prints both beside each other, and how often the time taken lay in the interval that was promised. Commands
run as processes of their own, as people run them: loading counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rig
from memory import COMMAND, POSTINGS, make_postings

WIDEST = 0.30


@dataclass(frozen=True)
class Round:
    """Seconds as promised and as taken; tokens, bytes and requests likewise."""

    promised: dict[str, float]
    taken_s: float
    planning_s: float
    volumes: dict[str, tuple[float, float]]
    load: float

    @property
    def is_kept(self) -> bool:
        """Whether the time taken lies in the interval."""
        return self.promised["low"] <= self.taken_s <= self.promised["high"]

    @property
    def width(self) -> float:
        """The wider half of the interval, as a share of the estimate."""
        value = self.promised["value"]
        return max(self.promised["high"] / value - 1, 1 - self.promised["low"] / value)


def main() -> None:
    """Run the rounds and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postings", type=int, default=2000)
    asked = parser.parse_args()
    with rig.place() as place:
        make_postings(place.dsn, asked.postings)
        rounds = [one_round(place, number, asked.postings) for number in range(asked.rounds)]
    kept, widest = sum(item.is_kept for item in rounds), max(item.width for item in rounds)
    print(f"{kept} of {len(rounds)} backfills took what was promised; widest half {widest:.0%} (bar: {WIDEST:.0%})")


def one_round(place: rig.Place, number: int, postings: int) -> Round:
    """A plan, a backfill, a line."""
    label = rig.new_label()
    content = POSTINGS.format(label=label, rows=postings, model=rig.small_model(), device="auto")
    file = place.configure(label, content)
    began = time.monotonic()
    planned = run("plan", file)
    planning_s = time.monotonic() - began
    began = time.monotonic()
    moved = run("backfill", file)
    found = judged(planned, moved, time.monotonic() - began, planning_s)
    print(line(number, found), flush=True)
    place.server.clear(label)
    return found


def run(command: str, file: Path) -> Any:
    """The result of a command that ends well."""
    done = subprocess.run([COMMAND, command, "-c", str(file), "-q", "--json"], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def judged(planned: Any, moved: Any, taken_s: float, planning_s: float) -> Round:
    """What was promised beside what came."""
    [before], [after] = planned["tables"], moved["tables"]
    volumes = {
        "tokens": (sum(item["tokens"]["value"] for item in before["embeddings"]), after["this_run"]["tokens"]),
        "bytes": (before["bytes_out"], after["bytes_out"]),
        "requests": (before["requests"], after["requests"]),
    }
    return Round(planned["seconds"], taken_s, planning_s, volumes, os.getloadavg()[0])


def line(number: int, found: Round) -> str:
    """One round for people."""
    promised = found.promised
    parts = [
        f"{number}: promised {promised['value']:.0f} s ({promised['low']:.0f} to {promised['high']:.0f})",
        f"took {found.taken_s:.0f} s, {'kept' if found.is_kept else 'NOT KEPT'}",
        f"half {found.width:.0%}",
        *(f"{name} {before:,.0f} for {after:,.0f}" for name, (before, after) in found.volumes.items()),
        f"planning {found.planning_s:.0f} s",
        f"load {found.load:.1f}",
    ]
    return "; ".join(parts)


if __name__ == "__main__":
    main()
