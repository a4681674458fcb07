"""The limit on requests under way: halved, grown, and one while the target is away."""

from __future__ import annotations

import threading

import pytest

from byov_migrate.errors import Ambiguous, MigrationError, Overloaded, Retriable, TooLarge
from byov_migrate.target.pace import ANSWERS_TO_GROW, FAILURES_TO_OPEN, Pace


def fail(pace: Pace, error: MigrationError) -> None:
    """One request that raises."""

    def action() -> None:
        raise error

    with pytest.raises(type(error)):
        pace.ask(action)


def answer(pace: Pace, times: int = 1) -> None:
    """Requests that are answered."""
    for _ in range(times):
        assert pace.ask(lambda: 42) == 42


def test_a_request_for_fewer_halves_the_limit_and_answers_bring_it_back() -> None:
    """8, 4, 2, 1 and never 0; one more after every 20 answers, never above the configured number."""
    pace = Pace(8)
    seen = []
    for _ in range(5):
        fail(pace, Overloaded())
        seen.append(pace.limit)
    assert seen == [4, 2, 1, 1, 1]
    answer(pace, ANSWERS_TO_GROW)
    assert pace.limit == 2
    answer(pace, 20 * ANSWERS_TO_GROW)
    assert pace.limit == 8


@pytest.mark.parametrize("error", [Retriable(), Ambiguous()])
def test_after_five_failures_one_request_at_a_time_until_an_answer(error: MigrationError) -> None:
    """A target that is away gets one try at a time; the first answer opens the way again."""
    pace = Pace(4)
    for _ in range(FAILURES_TO_OPEN - 1):
        fail(pace, error)
    assert pace.limit == 4
    fail(pace, error)
    assert pace.limit == 1
    answer(pace)
    assert pace.limit == 4


def test_a_refusal_of_size_is_an_answer() -> None:
    """408 and 413 come from a target that is there."""
    pace = Pace(4)
    for _ in range(FAILURES_TO_OPEN):
        fail(pace, TooLarge())
    assert pace.limit == 4


def test_never_more_under_way_than_the_limit() -> None:
    """With a limit of two, a third request waits until one has ended."""
    pace, inside, most = Pace(2), [0], [0]
    lock, gate = threading.Lock(), threading.Event()

    def action() -> None:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        gate.wait(0.05)
        with lock:
            inside[0] -= 1

    threads = [threading.Thread(target=pace.ask, args=(action,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [2]
