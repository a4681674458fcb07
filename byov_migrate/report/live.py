"""While it runs: a bar on a terminal, else one plain line a minute; events as text or JSON lines. All to stderr."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from byov_migrate.jobs.surroundings import Progress

LINE_EVERY_S = 60.0
LogFormat = Literal["text", "json"]
_FIRST = {"wait", "recovered", "write-mode", "planned", "model", "ready", "no-sync", "accepted", "index-gone"}
_SHOWN = frozenset({*_FIRST, "removing", "withdrawn"})
"""Events a person wants to see without -v."""


@dataclass
class Live:
    """Shows progress and events. `verbosity`: -1 quiet, 0 normal, 1 everything."""

    log_format: LogFormat = "text"
    verbosity: int = 0
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    monotonic: Callable[[], float] = time.monotonic
    _bar: Bar | None = None
    _task: TaskID | None = None
    _table: str = ""
    _line_at: float | None = None

    def progress(self, progress: Progress) -> None:
        """Show how far a table is."""
        if self.log_format == "json":
            self._json("progress", **_fields(progress))
        elif self.verbosity >= 0 and self.stream.isatty():
            self._draw(progress)
        elif self.verbosity >= 0:
            self._line(progress)

    def log(self, action: str, **fields: Any) -> None:
        """Show an event, when it is for people or everything is wanted."""
        if self.log_format == "json":
            self._json(action, **fields)
        elif self.verbosity > 0 or (self.verbosity == 0 and action in _SHOWN):
            self._say(_sentence(action, fields))

    def countdown(self, reason: str, seconds_left: float) -> None:
        """What a wait has left, where there is a bar to show it in."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, pace=f"waiting {seconds_left:.0f} s: {reason}")

    def close(self) -> None:
        """Leave the last state of the bar standing."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=self.stream, flush=True)

    def _json(self, action: str, **fields: Any) -> None:
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        print(json.dumps({"at": now, "action": action, **fields}), file=self.stream, flush=True)

    def _line(self, progress: Progress) -> None:
        now = self.monotonic()
        if self._line_at is not None and now - self._line_at < LINE_EVERY_S:
            return
        self._line_at = now
        self._say(
            f"{progress.label}: {progress.confirmed:,} of {progress.total:,} {_done(progress)}, {_pace(progress)}"
        )

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            self._bar = _new_bar(self.stream)
            self._bar.start()
        if self._task is None or self._table != progress.table:
            self._table = progress.table
            self._task = self._bar.add_task(progress.label, total=progress.total, pace="")
        self._bar.update(self._task, completed=progress.confirmed, total=progress.total, pace=_pace(progress))


def _new_bar(stream: TextIO) -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    console = Console(file=stream)
    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    return Bar(*columns, console=console)


def _done(progress: Progress) -> str:
    """What is counted: who only reads both sides confirms nothing."""
    return "compared" if progress.slowest.startswith("reading the ") else "confirmed"


def _pace(progress: Progress) -> str:
    left = progress.seconds_left
    parts = [f"{progress.rows_a_second:,.1f} rows/s"]
    parts += [f"{clock_text(left)} left"] if left is not None else []
    parts += [f"{progress.rejected:,} rejected"] if progress.rejected else []
    parts += [f"{progress.slowest} is the slowest stage ({progress.slowest_share:.0%} busy)"]
    return ", ".join(parts)


def clock_text(seconds: float) -> str:
    """`0:07`, `12:30`, `2 h 51 min`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60}:{whole % 60:02d}"


def size_text(count: float) -> str:
    """`999 B`, `2.5 MB`: in thousands, as networks count."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def _fields(progress: Progress) -> dict[str, Any]:
    left = progress.seconds_left
    return {
        "table": progress.table,
        "confirmed": progress.confirmed,
        "total": progress.total,
        "rejected": progress.rejected,
        "rows_a_second": round(progress.rows_a_second, 2),
        "seconds_left": None if left is None else round(left),
        "slowest": progress.slowest,
        "slowest_share": round(progress.slowest_share, 3),
    }


def _sentence(action: str, fields: dict[str, Any]) -> str:
    if action == "wait":
        return f"waiting {fields['seconds']:.0f} s: {fields['reason']}"
    return f"{action}: " + ", ".join(f"{name} {value}" for name, value in fields.items())
