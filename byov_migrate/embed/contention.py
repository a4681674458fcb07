"""How much of the processor this process gets of what it asks for, as Linux accounts for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

THREADS = Path("/proc/self/task")


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Seconds that all threads have run so far, and have waited for a processor while they could have run."""

    ran_s: float
    waited_s: float

    def share_since(self, before: ProcessorTime) -> float:
        """Of the time that the threads could have run since `before`, the part in which they did; 1 alone."""
        ran, waited = self.ran_s - before.ran_s, self.waited_s - before.waited_s
        return min(max(ran / (ran + waited), 0.0), 1.0) if ran > 0 and waited > 0 else 1.0


def processor_time(threads: Path = THREADS) -> ProcessorTime:
    """As of now; zeros where the system does not tell, which reads as a machine of one's own."""
    ran = waited = 0
    for file in threads.glob("*/schedstat"):
        try:
            fields = file.read_text(encoding="ascii").split()
        except OSError:  # the thread has ended meanwhile
            continue
        ran, waited = ran + int(fields[0]), waited + int(fields[1])
    return ProcessorTime(ran / 1e9, waited / 1e9)
