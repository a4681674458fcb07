"""This machine's clock against those of the two ends."""

from __future__ import annotations

import email.utils
import ssl
from collections.abc import Iterator

import httpx

from byov_migrate.config import Config, TargetConfig
from byov_migrate.jobs.check.findings import Finding, Speaker
from byov_migrate.jobs.check.seen import Seen
from byov_migrate.jobs.surroundings import Surroundings

TOLERANCE_S = 5.0
TIMEOUT_S = 10.0
_clock = Speaker("clock")


def look_at_clocks(config: Config, around: Surroundings, seen: Seen) -> Iterator[Finding]:
    """Of the ends that answered."""
    if seen.source_offset_s is not None:
        yield _judged("PostgreSQL's", seen.source_offset_s)
    if seen.target_answers:
        offset_s = _target_offset_s(config.target, around)
        yield _clock.ok("clock", "RushDB's is not told") if offset_s is None else _judged("RushDB's", offset_s)


def _judged(whose: str, offset_s: float) -> Finding:
    if abs(offset_s) <= TOLERANCE_S:
        return _clock.ok("clock", f"{whose} is within {TOLERANCE_S:g} s of this machine's")
    way = "ahead of" if offset_s > 0 else "behind"
    what = f"{whose} is {abs(offset_s):,.0f} s {way} this machine's"
    return _clock.warn("clock", what, "have both kept by NTP; times in the state and the log are this machine's")


def _target_offset_s(config: TargetConfig, around: Surroundings) -> float | None:
    """By the Date of an answer that needs no key, cut to the second; None where that cannot be told."""
    verify: ssl.SSLContext | bool = config.tls != "insecure"
    if config.ca_file is not None:
        verify = ssl.create_default_context(cafile=str(config.ca_file))
    try:
        with httpx.Client(trust_env=False, verify=verify, proxy=config.proxy, timeout=TIMEOUT_S) as client:
            before = around.clock()
            told = client.get(f"{config.base_url}/api/v1/settings").headers.get("date", "")
            between = (before + around.clock()) / 2
        return email.utils.parsedate_to_datetime(told).timestamp() + 0.5 - between
    except (httpx.HTTPError, ValueError):
        return None
