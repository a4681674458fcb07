"""SIGTERM, SIGINT and SIGHUP: the first drains, the second kills."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

DRAINING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def draining(stop: threading.Event) -> Iterator[list[int]]:
    """Set `stop` at the first signal and give all signals back their old handlers, so that the second one kills.

    Yields a list that will hold the number of the signal that came. The handler does nothing else: it interrupts the
    main thread anywhere, even inside a lock.
    """
    received: list[int] = []

    def first(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        restore()
        stop.set()

    def restore() -> None:
        for number, handler in old.items():
            signal.signal(number, handler)

    heeded = [number for number in DRAINING if signal.getsignal(number) is not signal.SIG_IGN]  # nohup means it
    old = {number: signal.signal(number, first) for number in heeded}
    try:
        yield received
    finally:
        restore()
