"""Waiting: how long, how often, and when no more. All in virtual time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byov_migrate.errors import (
    Ambiguous,
    ConfigurationError,
    Interrupted,
    MigrationError,
    Overloaded,
    Retriable,
    RowRefused,
    TooLarge,
    Unavailable,
)
from byov_migrate.target.retry import BASE_S, CAP_S, Patience, full_jitter
from tests.faults.virtual_time import VirtualTime


def failing(*errors: MigrationError) -> Callable[[], str]:
    """An action that raises these in turn, then works."""
    left = list(errors)

    def action() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return action


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.floats(0, 300))
def test_full_jitter_stays_between_the_floor_and_the_cap(attempt: int, draw: float, floor_s: float) -> None:
    """Whatever the attempt: 2 ** n must not overflow, and a floor is never undercut."""
    wait_s = full_jitter(attempt, draw, floor_s=floor_s)
    assert floor_s <= wait_s <= floor_s + min(CAP_S, BASE_S * 2 ** min(attempt - 1, 20))


@pytest.mark.parametrize(("attempt", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (8, 60.0), (9, 60.0)])
def test_the_longest_wait_doubles_up_to_a_minute(attempt: int, longest: float) -> None:
    """Doubling spares a server that is down; the cap keeps the run awake when it is back."""
    assert full_jitter(attempt, 0.999999) == pytest.approx(longest, rel=1e-5)


@pytest.mark.parametrize("attempt", [1, 2, 7])
def test_the_shortest_wait_is_none(attempt: int) -> None:
    """Full jitter: many clients that failed together must not come back together."""
    assert full_jitter(attempt, 0.0) == 0.0


def test_a_retriable_failure_is_tried_again_until_it_works() -> None:
    """Two failures, two waits, one result."""
    time = VirtualTime()
    assert time.patience().retry(failing(Retriable("a"), Retriable("b"))) == "done"
    assert time.waits == [0.25, 0.5]


def test_retry_after_raises_every_wait_above_what_was_asked_for() -> None:
    """The jitter comes on top, so that clients told the same number spread out."""
    time = VirtualTime()
    time.patience().retry(failing(Overloaded("a", wait_s=10.0)))
    assert time.waits == [10.25]


@pytest.mark.parametrize(
    "error",
    [Ambiguous("x"), RowRefused("x"), TooLarge("x"), ConfigurationError("x"), Unavailable("x"), Interrupted()],
    ids=lambda error: type(error).__name__,
)
def test_everything_else_passes_through_at_the_first_time(error: MigrationError) -> None:
    """A second try of an ambiguous create doubles it; of a request that is too large it is wasted."""
    time = VirtualTime()
    with pytest.raises(type(error)) as caught:
        time.patience().retry(failing(error))
    assert caught.value is error
    assert time.waits == []


def test_a_bug_is_not_retried() -> None:
    """Nor swallowed."""
    with pytest.raises(ZeroDivisionError):
        VirtualTime().patience().retry(lambda: 1 // 0)


def test_the_budget_is_one_of_time_and_its_end_is_unavailable() -> None:
    """The message says what went on for how long; cron tries again later."""
    time = VirtualTime()

    def always() -> None:
        raise Retriable("target answered 503 to POST /x")

    with pytest.raises(Unavailable) as caught:
        time.patience(600.0).retry(always)
    assert 600.0 <= sum(time.waits) <= 660.0
    assert str(caught.value) == "target answered 503 to POST /x for 10 min"
    assert caught.value.exit_code == 75


def test_with_no_budget_there_is_one_try() -> None:
    """A budget of zero is no loop."""
    time = VirtualTime()
    with pytest.raises(Unavailable):
        time.patience(0.0).retry(failing(Retriable("a")))
    assert time.waits == []


def test_slow_attempts_use_up_the_budget_too() -> None:
    """Three attempts of 25 s each leave nothing of a minute."""
    time = VirtualTime()
    attempts = 0

    def slow() -> None:
        nonlocal attempts
        attempts += 1
        time.now += 25.0
        raise Retriable("slow")

    with pytest.raises(Unavailable):
        time.patience(60.0).retry(slow)
    assert attempts == 3


def test_a_stop_ends_the_waiting() -> None:
    """A signal during a wait of a minute is obeyed at once."""
    time = VirtualTime(stopped=True)
    with pytest.raises(Interrupted):
        time.patience().retry(failing(Retriable("a")))
    assert len(time.waits) == 1


def test_each_wait_is_announced_with_its_reason() -> None:
    """Whoever looks at a run that stands still must see why."""
    time, told = VirtualTime(), []
    patience = Patience(60.0, time.monotonic, time.sleep, lambda: 0.5, lambda *what: told.append(what))
    patience.retry(failing(Retriable("target is away")))
    patience.pause("waiting for the request to end", 7.0)
    assert told == [("target is away", 0.25), ("waiting for the request to end", 7.0)]


def test_a_countdown_is_told_every_second_of_a_wait() -> None:
    """A person at the terminal sees how long the server's budget still lasts; the whole wait stays as long."""
    told: list[float] = []
    slept: list[float] = []

    def sleep(seconds: float) -> bool:
        slept.append(seconds)
        return False

    patience = Patience(60.0, lambda: 0.0, sleep, countdown=lambda _reason, left: told.append(left))
    patience.pause("the request may still run", 3.5)
    assert told == [3.5, 2.5, 1.5]
    assert sum(slept) == 3.5
