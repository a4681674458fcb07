"""This machine's clock against those of the two ends."""

from __future__ import annotations

from collections.abc import Iterator

from byov_migrate.config import Config
from byov_migrate.jobs.check.findings import Finding, Speaker
from byov_migrate.jobs.check.seen import Seen
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.target.http import clock_offset_s

TOLERANCE_S = 5.0
_clock = Speaker("clock")


def look_at_clocks(config: Config, around: Surroundings, seen: Seen) -> Iterator[Finding]:
    """Of the ends that answered."""
    if seen.source_offset_s is not None:
        yield _judged("PostgreSQL's", seen.source_offset_s)
    if seen.target_answers:
        offset_s = clock_offset_s(config.target, around.clock)
        yield _clock.ok("clock", "RushDB's is not told") if offset_s is None else _judged("RushDB's", offset_s)


def _judged(whose: str, offset_s: float) -> Finding:
    if abs(offset_s) <= TOLERANCE_S:
        return _clock.ok("clock", f"{whose} is within {TOLERANCE_S:g} s of this machine's")
    way = "ahead of" if offset_s > 0 else "behind"
    what = f"{whose} is {abs(offset_s):,.0f} s {way} this machine's"
    return _clock.warn("clock", what, "have both kept by NTP; times in the state and the log are this machine's")
