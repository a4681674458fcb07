"""What a job needs from outside besides its configuration: clocks, waits, the stop switch, somebody to tell."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from byov_migrate.target.retry import Patience


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a table is. `confirmed` counts rows proved to be stored, whatever run stored them."""

    table: str
    label: str
    confirmed: int
    total: int
    rejected: int
    rows_a_second: float
    slowest: str
    slowest_share: float  # of the time so far that the slowest stage was busy

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None before there is one."""
        left = max(self.total - self.confirmed - self.rejected, 0)
        return left / self.rows_a_second if self.rows_a_second > 0 else None


def _nobody(*_arguments: Any, **_fields: Any) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Surroundings:
    """Defaults are the real ones, and silent; a test or a host program replaces what it needs."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    clock: Callable[[], float] = time.time  # seconds since 1970: written down, never compared
    monotonic: Callable[[], float] = time.monotonic
    stop: threading.Event = field(default_factory=threading.Event)
    progress: Callable[[Progress], None] = _nobody
    log: Callable[..., None] = _nobody  # log(action, **fields): a stable action, numbers and names
    countdown: Callable[[str, float], None] | None = None  # reason and seconds left, every second of a wait

    def patience(self, give_up_after_s: float) -> Patience:
        """Waiting that a stop cuts short, and that says why it waits."""
        return Patience(
            give_up_after_s,
            self.monotonic,
            self.stop.wait,
            on_wait=lambda reason, seconds: self.log("wait", reason=reason, seconds=round(seconds, 1)),
            countdown=self.countdown,
        )
