"""What is shown while a run works: one plain line a minute, or JSON lines; nothing when quiet. All to stderr."""

from __future__ import annotations

import io
import json

import pytest

from byov_migrate.jobs.surroundings import Progress
from byov_migrate.report.live import Live, LogFormat
from tests.faults.virtual_time import VirtualTime


def progress(confirmed: int, rate: float = 10.0, rejected: int = 0) -> Progress:
    """Somewhere in a table of 1,200 rows."""
    return Progress("public.job", "Job", confirmed, 1200, rejected, rate, "embedding", 0.97)


def live(log_format: LogFormat = "text", verbosity: int = 0) -> tuple[Live, io.StringIO, VirtualTime]:
    """A display on no terminal."""
    stream, time = io.StringIO(), VirtualTime()
    return Live(log_format, verbosity, stream, time.monotonic), stream, time


def test_without_a_terminal_there_is_one_line_a_minute() -> None:
    """A log of a day must stay readable."""
    shown, stream, time = live()
    for second in range(121):
        time.now = 1000.0 + second
        shown.progress(progress(second))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[1] == "Job: 60 of 1,200 confirmed, 10.0 rows/s, 1:54 left, embedding is the slowest stage (97% busy)"


def test_a_verify_counts_what_was_compared() -> None:
    """It confirms nothing: that is the word for what was written and read back."""
    shown, stream, _ = live()
    shown.progress(Progress("public.job", "Job", 60, 1200, 0, 10.0, "reading the target", 1.0))
    assert "60 of 1,200 compared" in stream.getvalue()


def test_without_a_rate_no_time_is_promised() -> None:
    """At the start nothing is known."""
    shown, stream, _ = live()
    shown.progress(progress(0, rate=0.0, rejected=3))
    assert "left" not in stream.getvalue()
    assert "3 rejected" in stream.getvalue()


def test_json_lines_are_complete_and_one_a_line() -> None:
    """For whoever collects logs."""
    shown, stream, _ = live("json")
    shown.progress(progress(60))
    shown.log("wait", reason="target answered 503", seconds=2.0)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("at") <= second.pop("at")
    assert first == {
        "action": "progress",
        "table": "public.job",
        "confirmed": 60,
        "total": 1200,
        "rejected": 0,
        "rows_a_second": 10.0,
        "seconds_left": 114,
        "slowest": "embedding",
        "slowest_share": 0.97,
    }
    assert second == {"action": "wait", "reason": "target answered 503", "seconds": 2.0}


@pytest.mark.parametrize(("verbosity", "lines"), [(-1, 0), (0, 1), (1, 2)])
def test_events_are_shown_to_those_who_want_them(verbosity: int, lines: int) -> None:
    """A wait to everybody who is not quiet, the rest with -v."""
    shown, stream, _ = live(verbosity=verbosity)
    shown.log("wait", reason="target answered 503", seconds=2.0)
    shown.log("anything", rows=5)
    assert len(stream.getvalue().splitlines()) == lines


def test_quiet_is_quiet() -> None:
    """Errors come from elsewhere."""
    shown, stream, _ = live(verbosity=-1)
    shown.progress(progress(60))
    shown.close()
    assert stream.getvalue() == ""
