"""Hits of a search, how they came about, and the call that an application would make."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byov_migrate.jobs.search import ApplicationCall, Explanation, Hit, SearchResult

TEXT_WIDTH = 100
_INDENT = " " * 7


def print_search(result: SearchResult) -> None:
    """Score, properties, and what is local beside each hit."""
    for hit in result.hits:
        for line in _lines(hit):
            print(line)
    how = "exact, every record compared" if result.exact else "by the index"
    print(
        f"{len(result.hits)} hits of {result.label}.{result.property_name}, {how}, {result.seconds:.2f} s",
        file=sys.stderr,
    )
    if result.explanation is not None:
        for line in _explained(result.explanation):
            print(line)


def _lines(hit: Hit) -> list[str]:
    shown = {name: value for name, value in hit.properties.items() if not name.startswith("byov") and value != ""}
    lines = [f"{hit.score:.3f}  {hit.key}  " + "  ".join(f"{name}={value}" for name, value in shown.items())]
    lines += [_INDENT + _short(hit.text)] if hit.text else []
    local = ((name, "NULL" if value is None else _short(value)) for name, value in hit.shown.items())
    return lines + [f"{_INDENT}{name}: {value}" for name, value in local]


def _short(text: str) -> str:
    return textwrap.shorten(text, TEXT_WIDTH, placeholder=" ...")


def _explained(told: Explanation) -> list[str]:
    seconds = told.seconds
    ours = f"{seconds.embedding:.3f} embedding, {seconds.loading:.1f} loading the model"
    compared = "compared" if told.way == "exact" else "in the index"
    return [
        f"way        {told.way} ({told.reason})",
        f"candidates {told.candidates:,} records with a vector {compared}, {told.dimension} dimensions",
        f"seconds    {ours}, {seconds.asking:.3f} asking RushDB, {seconds.reading:.3f} reading PostgreSQL",
    ]


def print_application_call(call: ApplicationCall) -> None:
    """The code alone, so that it can be piped into a file."""
    print(call.code, end="")
