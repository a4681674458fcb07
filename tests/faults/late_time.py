"""Virtual time in which a request may be carried out after its client has left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.exchange import Exchange, Fault
from tests.faults.virtual_time import VirtualTime


@dataclass
class LateTime(VirtualTime):
    """What is due happens while somebody waits; `drain` lets all of it happen."""

    pending: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    def sleep(self, seconds: float) -> bool:
        """As VirtualTime, and what falls due meanwhile happens."""
        stopped = super().sleep(seconds)
        self._run(self.now)
        return stopped

    def drain(self) -> None:
        """Nobody asks any more; whatever still runs in the server ends now."""
        self._run(float("inf"))

    def _run(self, until: float) -> None:
        due = [action for moment, action in self.pending if moment <= until]
        self.pending = [(moment, action) for moment, action in self.pending if moment > until]
        for action in due:
            action()

    def act_after(self, seconds: float) -> Fault:
        """A fault: the connection ends, and so many seconds later the request is carried out after all."""

        def fault(exchange: Exchange) -> None:
            self.pending.append((self.now + seconds, exchange.act))
            exchange.close()

        return fault
