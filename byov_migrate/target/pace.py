"""How many requests may be under way at once.

The limit is halved when the target asks for fewer and grows by one after every 20 answers. After five failures in a row
it is one, whatever it was: a target that is away gets one try at a time until it answers again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from byov_migrate.errors import Ambiguous, Overloaded, Retriable, TooLarge

T = TypeVar("T")
FAILURES_TO_OPEN = 5
ANSWERS_TO_GROW = 20


class Pace:
    """The limit and who is under way; shared by the threads that write to one target."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = most
        self._under_way = 0
        self._failures = 0
        self._answers = 0
        self._changed = threading.Condition()

    @property
    def limit(self) -> int:
        """Requests that may be under way now."""
        return 1 if self._failures >= FAILURES_TO_OPEN else self._limit

    def ask(self, action: Callable[[], T]) -> T:
        """Wait for a turn, then the action's result; learns from what the action raises."""
        with self._turn():
            try:
                result = action()
            except TooLarge:
                self._answered()
                raise
            except Overloaded:
                self._slow_down()
                raise
            except (Retriable, Ambiguous):
                self._failed()
                raise
            self._answered()
            return result

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: self._under_way < self.limit)
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _answered(self) -> None:
        with self._changed:
            self._failures = 0
            self._answers += 1
            if self._answers >= ANSWERS_TO_GROW:
                self._answers, self._limit = 0, min(self._limit + 1, self._most)

    def _slow_down(self) -> None:
        with self._changed:
            self._answers, self._limit = 0, max(self._limit // 2, 1)

    def _failed(self) -> None:
        with self._changed:
            self._failures += 1
