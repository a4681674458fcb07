"""How long it takes: what was measured on this machine, what is assumed of the target, and how sure that is. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from byov_migrate.jobs.planning.arithmetic import Z_90, Estimate, exactly, greater, product, spread, total

PAGE_PATIENCE_S = 10.0
"""A batch leaves this long after its first row, full or not (see the pipeline)."""
STARTING_S = 2.0
"""Program, connections, plan of the table, marker and indexes; beside the models."""
ROUND_TRIP_S = 0.05
OWN_SHARE = 0.04
"""Of the embedding time: hashes, bodies, proofs, on the cores that embed."""
LEAST_SHARE = 0.10
"""No interval of a measured rate is narrower: what else runs on a machine changes between two runs."""
CHECKPOINT_EVERY_S = 4.0
"""Between two looks at what the target holds, where looking is quick."""

# Seconds a server needs for 1,000 rows by the two calls: low, usual, high. As seen; nothing is written to ask.
SERVER_S: dict[str, tuple[float, float, float]] = {
    "platform": (1.6, 2.2, 3.0),
    "cloud": (1.6, 2.2, 4.0),
    "sandbox": (0.2, 0.5, 1.2),
}
ASSUMED_KIND = "platform"
# Seconds a server needs for 1,000 links that it joins by value, for 1,000 that it makes by ids, and for a request about
# links, whether it makes them or counts them. Seen with 3,000 to 100,000 records, 5 to 1,000 links a request.
JOINED_S: dict[str, tuple[float, float, float]] = {
    "platform": (0.04, 0.1, 0.3),
    "cloud": (0.04, 0.1, 0.6),
    "sandbox": (0.01, 0.03, 0.1),
}
BY_IDS_S: dict[str, tuple[float, float, float]] = {
    "platform": (0.2, 0.6, 1.0),
    "cloud": (0.2, 0.6, 2.0),
    "sandbox": (0.03, 0.08, 0.2),
}
LINK_REQUEST_S: dict[str, tuple[float, float, float]] = {
    "platform": (0.022, 0.035, 0.07),
    "cloud": (0.022, 0.035, 0.14),
    "sandbox": (0.001, 0.002, 0.01),
}


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time goes. `seconds`: of the table; embedding and writing go on side by side."""

    seconds: Estimate
    embedding: Estimate
    writing: Estimate
    slowest: str


def measured_seconds(tokens: Estimate, paces: Sequence[float], processor_share: float = 1.0) -> Estimate:
    """Seconds to embed these tokens. `paces`: seconds a token, of each slice that was timed.

    processor_share: what others left of the processor. They may end, and then it is quicker by that; or get more.
    """
    if not paces or not tokens.value:
        return exactly(0.0)
    mean = math.fsum(paces) / len(paces)
    found = product(tokens, _pace(mean, paces)).times(1 + OWN_SHARE)
    low = min(found.low, found.value * processor_share)
    return Estimate(found.value, low, found.high * (1 + (1 - processor_share) / 2))


def _pace(mean: float, paces: Sequence[float]) -> Estimate:
    """The mean is certain to its standard error; that the next hour is like the last minute is not.

    The spread of the slices stands for that: half the distance between their outer tenths.
    """
    ordered = sorted(paces)
    low, high = _quantile(ordered, 0.1), _quantile(ordered, 0.9)
    deviation = math.sqrt(math.fsum((pace - mean) ** 2 for pace in paces) / max(len(paces) - 1, 1))
    error = Z_90 * deviation / math.sqrt(len(paces))
    below = max(LEAST_SHARE * mean, math.hypot(error, (mean - low) / 2))
    above = max(LEAST_SHARE * mean, math.hypot(error, (high - mean) / 2))
    return Estimate(mean, max(mean - below, 0.0), mean + above)


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    floor = int(place)
    rest = place - floor
    return ordered[floor] + (ordered[min(floor + 1, len(ordered) - 1)] - ordered[floor]) * rest


def writing_seconds(rows: float, kind: str | None, requests: int, round_trip_s: float | None) -> Estimate:
    """Seconds the target needs, by its kind; the way there and back as measured."""
    pace = _low_usual_high(SERVER_S, kind or ASSUMED_KIND)
    return total([pace.times(rows / 1000), exactly(requests * _way(round_trip_s))])


def linking_seconds(
    links: Estimate, requests: int, kind: str | None, round_trip_s: float | None, *, joined: bool
) -> Estimate:
    """Seconds to link records that are there. joined: by value, else by ids."""
    kind = kind or ASSUMED_KIND
    if not links.value:
        return exactly(0.0)
    pace, each = _low_usual_high(JOINED_S if joined else BY_IDS_S, kind), _low_usual_high(LINK_REQUEST_S, kind)
    return total([product(links, pace).times(1 / 1000), each.times(requests), exactly(requests * _way(round_trip_s))])


def _low_usual_high(seconds: Mapping[str, tuple[float, float, float]], kind: str) -> Estimate:
    low, usual, high = seconds[kind]
    return Estimate(usual, low, high)


def _way(round_trip_s: float | None) -> float:
    return ROUND_TRIP_S if round_trip_s is None else round_trip_s


def rows_a_batch(rows_a_second: float, batch_rows: int, page_rows: int) -> float:
    """A slow model sends what a few seconds make; a fast one sends full batches."""
    ready = min(rows_a_second * PAGE_PATIENCE_S, batch_rows)
    pages = max(math.ceil(ready / page_rows), 1)
    return float(min(pages * page_rows, batch_rows))


def starting(loading_s: float) -> Estimate:
    """Until the first row is read: the program, its connections, the models."""
    return spread(STARTING_S + loading_s, 0.3)


def timing(embedding: Estimate, writing: Estimate, rows: float, last_rows: float) -> Timing:
    """The stages go on side by side; the last batch is written when nothing is left to embed."""
    slowest = "embedding" if embedding.value >= writing.value else "writing"
    body = greater(embedding, writing)
    last = writing.times(min(last_rows / rows, 1.0)) if rows and slowest == "embedding" else exactly(0.0)
    return Timing(total([body, last]), embedding, writing, slowest)
