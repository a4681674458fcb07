"""Time that passes only when somebody waits for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from byov_migrate.target.retry import Patience


@dataclass
class VirtualTime:
    """A monotonic clock whose sleeps are instant; `waits` is what was asked for, in seconds."""

    now: float = 1000.0
    waits: list[float] = field(default_factory=list)
    stopped: bool = False  # a signal came: every wait is cut short

    def monotonic(self) -> float:
        """Seconds from anywhere."""
        return self.now

    def sleep(self, seconds: float) -> bool:
        """As `threading.Event.wait`: True when a stop cut it short."""
        self.waits.append(seconds)
        self.now += seconds
        return self.stopped

    def patience(self, give_up_after_s: float = 60.0, draw: float = 0.5) -> Patience:
        """A patience that waits in this time."""
        return Patience(give_up_after_s, self.monotonic, self.sleep, draw=lambda: draw)
