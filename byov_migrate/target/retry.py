"""Waiting: full jitter under a budget of time. What is retried is decided in `faults.py`; tenacity is the engine."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

import tenacity

from byov_migrate.errors import Interrupted, Retriable, TooLarge, Unavailable

T = TypeVar("T")
BASE_S = 0.5
CAP_S = 60.0
TICK_S = 1.0


def full_jitter(attempt: int, draw: float, *, floor_s: float = 0.0) -> float:
    """Seconds to wait after the attempt of this number (from 1): uniform below min(60, 0.5 * 2^(n-1)), above a floor.

    draw: uniform in [0, 1).
    """
    exponent = min(attempt - 1, 16)  # far above the cap; keeps the power small
    return floor_s + draw * min(CAP_S, BASE_S * float(2**exponent))


@dataclass(frozen=True)
class Patience:
    """How long a run waits for the other side. Clock and sleep are arguments, so that no test has to wait.

    monotonic: seconds from anywhere. sleep: returns True when it was cut short by a signal.
    """

    give_up_after_s: float
    monotonic: Callable[[], float]
    sleep: Callable[[float], bool]
    draw: Callable[[], float] = random.random
    on_wait: Callable[[str, float], None] = field(default=lambda _reason, _seconds: None)
    countdown: Callable[[str, float], None] | None = None  # told every second what is left

    def pause(self, reason: str, seconds: float) -> None:
        """Wait, saying why. Raise Interrupted when a signal cut the wait short."""
        self.on_wait(reason, seconds)
        while self.countdown is not None and seconds > TICK_S:
            self.countdown(reason, seconds)
            self._sleep(TICK_S)
            seconds -= TICK_S
        self._sleep(seconds)

    def _sleep(self, seconds: float) -> None:
        if self.sleep(seconds):
            raise Interrupted

    def retry(self, action: Callable[[], T]) -> T:
        """The action's result, after as many tries as the time allows.

        Raise Unavailable when `give_up_after_s` has passed, and whatever the action raises that is not Retriable;
        TooLarge is not retried, since the same request would meet the same limit.
        """
        started = self.monotonic()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_worth_it),
            stop=lambda _state: self.monotonic() - started >= self.give_up_after_s,
            wait=self._wait,
            sleep=lambda _seconds: None,  # `before_sleep` waits: it knows the reason
            before_sleep=self._before_sleep,
            retry_error_callback=lambda state: self._give_up(state, started),
        )
        return retrying(action)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = _error_of(state)
        floor_s = error.wait_s or 0.0 if isinstance(error, Retriable) else 0.0
        return full_jitter(state.attempt_number, self.draw(), floor_s=floor_s)

    def _before_sleep(self, state: tenacity.RetryCallState) -> None:
        self.pause(str(_error_of(state)), state.upcoming_sleep)

    def _give_up(self, state: tenacity.RetryCallState, started: float) -> NoReturn:
        error, minutes = _error_of(state), (self.monotonic() - started) / 60
        raise Unavailable(f"{error} for {minutes:.0f} min") from error


def _is_worth_it(error: BaseException) -> bool:
    return isinstance(error, Retriable) and not isinstance(error, TooLarge)


def _error_of(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
