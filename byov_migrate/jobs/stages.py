"""How busy each stage was: the one with the highest share is what limits the run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

STAGE_NAMES = {
    "read": "reading",
    "tokenize": "tokenizing",
    "embed": "embedding",
    "write": "writing",
    "confirm": "confirming",
}


@dataclass
class Stopwatch:
    """Seconds of work by stage, added up over threads. `workers`: how many share a stage."""

    monotonic: Callable[[], float]
    workers: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self.started = self.monotonic()

    @contextlib.contextmanager
    def busy(self, stage: str) -> Iterator[None]:
        """Add the time spent in the block to a stage."""
        began = self.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + self.monotonic() - began

    @property
    def elapsed(self) -> float:
        """Seconds since the stopwatch was made."""
        return self.monotonic() - self.started

    def shares(self) -> dict[str, float]:
        """The share of the elapsed time that each stage was busy, 0 to 1."""
        with self._lock:
            spent = dict(self.seconds)
        whole = max(self.elapsed, 1e-9)
        return {stage: min(spent[stage] / self.workers.get(stage, 1) / whole, 1.0) for stage in spent}

    def slowest(self) -> tuple[str, float]:
        """Name and share of the stage that limits."""
        shares = self.shares()
        if not shares:
            return "starting", 0.0
        stage = max(shares, key=lambda name: shares[name])
        return STAGE_NAMES.get(stage, stage), shares[stage]
