"""Running a generator ahead: a bounded number of items, every error delivered, nothing left behind."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from byov_migrate.jobs.prefetch import beside, prefetch


def running() -> list[str]:
    """Names of the threads of ours that are alive."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("byov-test")]


def test_items_come_in_order_and_all_of_them() -> None:
    """Also more than fit in between."""
    with prefetch(iter(range(100)), 2, "test") as ahead:
        assert list(ahead) == list(range(100))
    assert running() == []


def test_nothing_is_nothing() -> None:
    """An empty source ends at once."""
    with prefetch(iter(()), 2, "test") as ahead:
        assert list(ahead) == []


def test_an_error_comes_after_the_items_before_it() -> None:
    """What was read is worth settling, and a failure must not look like the end."""

    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("broken")

    with prefetch(items(), 5, "test") as ahead:
        assert [next(ahead), next(ahead)] == [1, 2]
        with pytest.raises(KeyError, match="broken"):
            next(ahead)


def test_a_producer_is_only_so_far_ahead() -> None:
    """Memory stays bounded whatever the speed of the other side."""
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    with prefetch(items(), 3, "test") as ahead:
        assert next(ahead) == 0
        deadline = time.monotonic() + 5
        while len(made) < 5 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        assert len(made) == 5  # one taken, three handed over, one in its hand


def test_leaving_early_stops_the_producer_and_closes_its_generator() -> None:
    """The connection it reads from is closed next."""
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    with prefetch(items(), 2, "test") as ahead:
        assert next(ahead) == 0
    assert closed.is_set()
    assert running() == []


def test_an_error_of_the_consumer_stops_the_producer_too() -> None:
    """And passes through as it is."""
    with pytest.raises(ZeroDivisionError), prefetch(iter(range(10**9)), 2, "test"):
        raise ZeroDivisionError
    assert running() == []


def test_two_stages_behind_each_other_end_together() -> None:
    """The second waits for the first; leaving must not wait for ever."""
    with prefetch(iter(range(10**9)), 2, "test-one") as first, prefetch(first, 2, "test-two") as second:
        assert [next(second), next(second)] == [0, 1]
    assert running() == []


def test_an_error_passes_through_two_stages() -> None:
    """From the reader to the writer."""

    def items() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    with prefetch(items(), 2, "test-one") as first, prefetch(first, 2, "test-two") as second:
        assert next(second) == 1
        with pytest.raises(KeyError, match="broken"):
            next(second)


def test_tasks_run_beside_in_order_and_their_errors_come_with_their_results() -> None:
    """The second one may use what the first one made."""
    main = threading.current_thread().name
    with beside("test", threading.Event()) as worker:
        first = worker.submit(lambda: threading.current_thread().name)
        second = worker.submit(lambda: first.result() != main)
        broken = worker.submit(int, "no number")
        assert second.result()
        with pytest.raises(ValueError, match="invalid literal"):
            broken.result()
    assert running() == []


def test_leaving_tells_the_task_under_way_and_drops_the_others() -> None:
    """Whoever leaves by an error must not wait for all that was planned, nor close what is still used."""
    unwanted, begun = threading.Event(), threading.Event()

    def task() -> bool:
        begun.set()
        return unwanted.wait(10)

    with contextlib.suppress(KeyError), beside("test", unwanted) as worker:
        under_way, later = worker.submit(task), worker.submit(task)
        assert begun.wait(10)
        raise KeyError
    assert under_way.result(0)
    assert later.cancelled()
    assert running() == []
