"""How busy each stage was, and which one limits."""

from __future__ import annotations

import contextlib

import pytest

from byov_migrate.jobs.stages import Stopwatch
from byov_migrate.jobs.surroundings import Progress
from tests.faults.virtual_time import VirtualTime


def test_the_busiest_stage_is_the_slowest() -> None:
    """Writers share their stage: two of them busy for the same 10 seconds are one stage busy for 10."""
    time = VirtualTime()
    stopwatch = Stopwatch(time.monotonic, {"write": 2})
    for stage, seconds in (("read", 2), ("embed", 15), ("write", 10), ("write", 10)):
        with stopwatch.busy(stage):
            time.sleep(seconds)
    time.now = 1000.0 + 20
    assert stopwatch.shares() == pytest.approx({"read": 0.1, "embed": 0.75, "write": 0.5})
    assert stopwatch.slowest()[0] == "embedding"


def test_before_anything_was_done_it_is_starting() -> None:
    """The first line of a run."""
    assert Stopwatch(VirtualTime().monotonic).slowest() == ("starting", 0.0)


def test_time_counts_also_when_the_work_failed() -> None:
    """A stage that spends its time on failures is the slowest all the same; no share is above one."""
    time = VirtualTime()
    stopwatch = Stopwatch(time.monotonic)
    with contextlib.suppress(ZeroDivisionError), stopwatch.busy("write"):
        time.sleep(5)
        raise ZeroDivisionError
    assert stopwatch.shares() == {"write": 1.0}


@pytest.mark.parametrize(
    ("confirmed", "rejected", "rate", "left"),
    [(50, 0, 10.0, 5.0), (95, 5, 10.0, 0.0), (120, 0, 10.0, 0.0), (0, 0, 0.0, None)],
)
def test_what_is_left_is_never_negative(confirmed: int, rejected: int, rate: float, left: float | None) -> None:
    """Rows are added while a table is read."""
    assert Progress("t", "Job", confirmed, 100, rejected, rate, "read", 0.5).seconds_left == left
