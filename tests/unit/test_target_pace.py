"""How many requests may be under way: less when the target asks for it, one when it is away."""

from __future__ import annotations

import threading

import pytest

from byov_migrate.errors import Ambiguous, MigrationError, Overloaded, Retriable, RowRefused, TooLarge
from byov_migrate.target.pace import ANSWERS_TO_GROW, FAILURES_TO_OPEN, Pace


def ask(pace: Pace, error: MigrationError | None = None, times: int = 1) -> None:
    """Requests that end so, one after the other."""

    def action() -> str:
        if error is not None:
            raise error
        return "done"

    for _ in range(times):
        try:
            assert pace.ask(action) == "done"
        except MigrationError as raised:
            if raised is not error:
                raise


def test_the_limit_is_halved_when_the_target_asks_for_fewer_and_grows_again() -> None:
    """Down at once, up slowly, never above what was configured and never to none."""
    pace = Pace(8)
    ask(pace, Overloaded("429"))
    assert pace.limit == 4
    ask(pace, Overloaded("429"), times=5)
    assert pace.limit == 1
    for expected in range(2, 9):
        ask(pace, times=ANSWERS_TO_GROW)
        assert pace.limit == expected
    ask(pace, times=3 * ANSWERS_TO_GROW)
    assert pace.limit == 8


@pytest.mark.parametrize("error", [Retriable("403"), Ambiguous("502")])
def test_a_target_that_is_away_gets_one_try_at_a_time(error: MigrationError) -> None:
    """Until it answers again, and then as many as before."""
    pace = Pace(4)
    ask(pace, error, times=FAILURES_TO_OPEN - 1)
    assert pace.limit == 4
    ask(pace, error)
    assert pace.limit == 1
    ask(pace)
    assert pace.limit == 4


@pytest.mark.parametrize("error", [RowRefused("422"), TooLarge("413")])
def test_a_refusal_is_an_answer(error: MigrationError) -> None:
    """A target that refuses rows is there; splitting a bad batch must not slow the others down."""
    pace = Pace(4)
    ask(pace, error, times=3 * FAILURES_TO_OPEN)
    assert pace.limit == 4


def test_no_more_than_the_limit_are_under_way() -> None:
    """Whatever the number of threads that ask."""
    pace, most, inside, counted = Pace(2), 0, 0, threading.Lock()

    def action() -> None:
        nonlocal most, inside
        with counted:
            inside += 1
            most = max(most, inside)
        threading.Event().wait(0.005)
        with counted:
            inside -= 1

    threads = [threading.Thread(target=pace.ask, args=(action,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == 2
