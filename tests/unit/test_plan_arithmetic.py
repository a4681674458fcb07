"""Estimates, their intervals, and what a time is put together from."""

from __future__ import annotations

import math
import random

import pytest

from byov_migrate.jobs.planning import pace, relations
from byov_migrate.jobs.planning.arithmetic import (
    Estimate,
    exactly,
    greater,
    mean_of,
    product,
    share_of,
    spread,
    total,
)
from byov_migrate.source.links import Paired
from byov_migrate.state.links import LinkCounts


def covered(seeds: range, draw: int, population: int) -> int:
    """How often the interval of a sample's mean holds the population's, over log-normal text lengths."""
    hits = 0
    for seed in seeds:
        dice = random.Random(seed)  # noqa: S311 - no secret
        lengths = [min(dice.lognormvariate(5.8, 0.85), 512) for _ in range(population)]
        found = mean_of(dice.sample(lengths, draw), population)
        hits += found.low <= math.fsum(lengths) / population <= found.high
    return hits


def test_the_interval_of_a_mean_holds_the_truth_nine_times_in_ten() -> None:
    """Over 300 tables; an interval that is too narrow, or safe because it is far too wide."""
    hits = covered(range(300), draw=100, population=400)
    assert 255 <= hits <= 288


def test_a_sample_of_everything_leaves_nothing_to_estimate() -> None:
    """Small tables are counted, not guessed."""
    assert mean_of([1.0, 2.0, 6.0], 3) == exactly(3.0)
    assert share_of([True, False], 2) == exactly(0.5)
    assert exactly(3.0).is_exact


def test_nothing_drawn_is_nothing() -> None:
    """An empty table divides by zero somewhere."""
    assert mean_of([], 0) == share_of([], 0) == exactly(0.0)


@pytest.mark.parametrize(("hits", "size"), [(0, 200), (200, 200), (3, 200)])
def test_a_share_stays_possible_and_is_never_certain_from_a_sample(hits: int, size: int) -> None:
    """None in a sample does not mean none in the table."""
    found = share_of([True] * hits + [False] * (size - hits), 100_000)
    assert 0.0 <= found.low <= hits / size <= found.high <= 1.0
    assert found.low < found.high


def test_independent_errors_add_in_squares_and_common_ones_as_they_are() -> None:
    """Tokens and rate err apart; two tables on one slow machine err together."""
    assert product(spread(10.0, 0.3), spread(2.0, 0.4)).share == pytest.approx(0.5)
    assert total([spread(10.0, 0.1), spread(20.0, 0.1)]).share == pytest.approx(0.1)


def test_the_slower_of_two_decides_at_both_ends() -> None:
    """What goes on side by side is as long as the longer, in the best case too."""
    assert greater(Estimate(5, 1, 9), Estimate(4, 3, 20)) == Estimate(5, 3, 20)


def test_a_rate_that_varies_widens_the_interval() -> None:
    """A machine that is shared promises less."""
    calm = pace.measured_seconds(exactly(1000), [0.01] * 12)
    busy = pace.measured_seconds(exactly(1000), [0.005, 0.015] * 6)
    assert calm.value == pytest.approx(busy.value)
    assert calm.share == pytest.approx(pace.LEAST_SHARE)
    assert busy.share > 2 * calm.share


def test_on_a_busy_machine_the_interval_reaches_down_to_a_free_one() -> None:
    """Measured beside others that may end: a third of the processor may become all of it."""
    alone, beside = (pace.measured_seconds(exactly(1000), [0.01] * 12, share) for share in (1.0, 1 / 3))
    assert beside.value == alone.value
    assert beside.low == pytest.approx(alone.value / 3)
    assert beside.high > alone.high


def test_without_texts_there_is_nothing_to_embed() -> None:
    """Tables of ready vectors."""
    assert pace.measured_seconds(exactly(0), []) == exactly(0.0)


def test_the_server_is_slower_in_proportion_to_rows_and_the_way_to_requests() -> None:
    """What is measured, the way, is not scaled by what is assumed."""
    near, far = (pace.writing_seconds(10_000, "platform", 20, way) for way in (0.0, 0.5))
    low, usual, high = (10 * part for part in pace.SERVER_S["platform"])
    assert near == Estimate(usual, low, high)
    assert far.value - near.value == pytest.approx(10.0)
    assert pace.writing_seconds(10_000, None, 0, 0.0) == near


def test_links_joined_by_value_cost_by_the_link_and_links_by_ids_by_the_request_too() -> None:
    """A link with properties of its own is two requests, which takes some hundred times what a joined one takes."""
    joined = pace.linking_seconds(exactly(100_000), 8, "platform", 0.0, joined=True)
    hubs = pace.linking_seconds(exactly(100_000), 400, "platform", 0.0, joined=False)
    single = pace.linking_seconds(exactly(100_000), 200_000, "platform", 0.0, joined=False)
    assert joined.value < hubs.value < single.value / 50
    assert pace.linking_seconds(exactly(0.0), 2, "platform", 1.0, joined=True) == exactly(0.0)
    far = pace.linking_seconds(exactly(100_000), 8, None, 0.5, joined=True)
    assert far.value == joined.value + 4


def test_a_slow_model_sends_small_batches_and_a_fast_one_full_ones() -> None:
    """Requests are counted from this: 40 rows a second fill two pages in ten seconds."""
    assert pace.rows_a_batch(40, 1000, 250) == 500
    assert pace.rows_a_batch(5, 1000, 250) == 250
    assert pace.rows_a_batch(float("1e9"), 1000, 1000) == 1000


def test_the_last_batch_comes_after_the_last_text() -> None:
    """Everything else is written while the model works."""
    found = pace.timing(exactly(100.0), exactly(20.0), rows=10_000, last_rows=500)
    assert found.slowest == "embedding"
    assert found.seconds.value == pytest.approx(101.0)
    assert pace.timing(exactly(5.0), exactly(20.0), 10_000, 500).seconds.value == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("known", "are_stored", "settled"),
    [(None, True, 0), (LinkCounts(12, 7, 3), True, 10), (LinkCounts(12, 7, 3), False, 7)],
)
def test_links_that_lead_nowhere_are_settled_once_all_targets_are_there(
    known: LinkCounts | None,
    are_stored: bool,  # noqa: FBT001
    settled: int,
) -> None:
    """Before that they are still to come, and take time."""
    assert relations._settled(known, relations.LinkedRecords(5, are_stored, 2.0)) == settled


@pytest.mark.parametrize(("pairs", "hubs", "requests"), [(5, 9, 10), (50, 9, 18), (100_000, 10, 220)])
def test_a_request_takes_up_to_a_thousand_links_of_a_record(pairs: int, hubs: int, requests: int) -> None:
    """Each with a question, whether they stand."""
    way = Paired(None, "public", "pair", (), (), ())
    assert relations._paired_requests(way, pairs, hubs) == requests
