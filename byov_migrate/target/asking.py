"""One request after another to one target: in turn, and as often as patience allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from byov_migrate.errors import Ambiguous, Retriable
from byov_migrate.target.pace import Pace
from byov_migrate.target.retry import Patience

T = TypeVar("T")


class Asker:
    """Asks for all threads that write to one target. `budget_s`: how long a request may go on after we have left."""

    def __init__(self, patience: Patience, pace: Pace, budget_s: float) -> None:
        self._patience = patience
        self._pace = pace
        self._budget_s = budget_s

    def ask(self, action: Callable[[], T]) -> T:
        """The action's result, tried again while it is Retriable."""
        return self._patience.retry(lambda: self._pace.ask(action))

    def repeat(self, action: Callable[[], T], on_lost: Callable[[], None] = lambda: None) -> T:
        """As `ask`, for an action that may be repeated whatever became of it; `on_lost` hears of each lost answer."""

        def repeatable() -> T:
            try:
                return action()
            except Ambiguous as error:
                on_lost()
                raise Retriable(str(error)) from error

        return self.ask(repeatable)

    def outlast(self, reason: str) -> None:
        """Wait until a request whose answer was lost cannot be running any more."""
        self._patience.pause(reason, self._budget_s)

    def deadline(self) -> float:
        """When a request that is lost now cannot be running any more, on the clock of `wait_until`."""
        return self._patience.monotonic() + self._budget_s

    def wait_until(self, moment: float, reason: str) -> None:
        """Wait for a moment, unless it has passed."""
        if (remaining := self.until(moment)) > 0:
            self._patience.pause(reason, remaining)

    def until(self, moment: float) -> float:
        """Seconds left until a moment, 0 when it has passed."""
        return max(moment - self._patience.monotonic(), 0.0)
