"""What a check found, and what `init` proposes."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byov_migrate.jobs.check import CheckResult, Finding
    from byov_migrate.jobs.init import InitResult

SHOWN_COLUMNS = 12
MARGIN = "      "


def print_check(result: CheckResult) -> None:
    """A line a finding: verdict, what it is about, what was found; below it the fix."""
    width = max((len(item.about) for item in result.findings), default=0)
    for item in result.findings:
        for line in _finding(item, width):
            print(line)
    print(f"{_counted(result.failures, 'failure')}, {_counted(result.warnings, 'warning')}")


def _finding(item: Finding, width: int) -> Iterator[str]:
    place = f"   [{item.place}]" if item.place else ""
    first, *more = item.what.splitlines()
    yield f"{item.verdict:<4}  {item.about:<{width}}  {first}{place}"
    indent = MARGIN + " " * width + "  "
    yield from (f"{indent}{line.strip()}" for line in more)
    if item.fix:
        yield f"{indent}-> {item.fix}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def last_line_of(result: CheckResult) -> str:
    """Command, code and the worst finding of a check that found a failure."""
    others = f" (and {_counted(result.failures - 1, 'other failure')})" if result.failures > 1 else ""
    parts = [f"byov-migrate check: {result.exit_code} {_counted(result.failures, 'failure')}{others}"]
    if worst := result.worst:
        parts[0] = f"byov-migrate check: {result.exit_code} {worst.about}: {worst.what.splitlines()[0]}{others}"
        parts += ["nothing was written", *([worst.fix] if worst.fix else [])]
    return "; ".join(parts)


def print_init(result: InitResult, *, is_quiet: bool = False) -> None:
    """The configuration to stdout, alone; what a person should know of it to stderr."""
    print(result.text, end="")
    for line in () if is_quiet else _summary(result, _name_of_stdout()):
        print(line, file=sys.stderr)


def _name_of_stdout() -> str:
    """The file that the shell has opened for stdout; empty for a terminal or a pipe, and where it cannot be told."""
    try:
        if not stat.S_ISREG(os.fstat(1).st_mode):
            return ""
        return Path("/proc/self/fd/1").readlink().name
    except OSError:
        return ""


def _summary(result: InitResult, file: str) -> Iterator[str]:
    tables = ", ".join(f"{table.name} ({table.rows:,} rows)" for table in result.tables)
    one = len(result.tables) == 1
    yield f"{file + ': ' if file else ''}{'1 table' if one else f'{len(result.tables)} tables'}: {tables}."
    if result.nodes:
        yield f"A record for each value: {_shortened(list(result.nodes))}."
    if result.links:
        yield f"{_counted(result.links, 'link')}, named in the file."
    left_out = [f"{name} ({why})" for table in result.tables for name, why in table.left_out.items()]
    if left_out:
        yield f"Left out: {_shortened(left_out)}."
    if withheld := [column for table in result.tables for column in table.withheld]:
        yield f"Withheld: {_shortened(withheld)}."
    if result.others:
        yield f"Not chosen: {len(result.others)} tables, named in the file."
    if result.export is not None:
        yield f"The configuration reads DATABASE_URL: export DATABASE_URL={shlex.quote(result.export)}"
    first = "Set models.text.path, then" if result.needs_model else "Next"
    yield f"{first}: byov-migrate check" + (f" -c {shlex.quote(file)}" if file else "")


def _shortened(items: list[str]) -> str:
    more = len(items) - SHOWN_COLUMNS
    return ", ".join(items[:SHOWN_COLUMNS]) + (f" and {more} more" if more > 0 else "")
