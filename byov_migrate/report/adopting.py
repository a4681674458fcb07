"""What a rebuilt state would hold, and what it holds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byov_migrate.jobs.adopt import AdoptResult, TableAdopted


def print_adopted(result: AdoptResult) -> None:
    """Some lines a table, and what comes next."""
    for table in result.tables:
        print("\n".join([f"{table.label}: {_amount(table)} adopted; 0 texts embedded", *_more(table)]))
    print("next: byov-migrate verify")
    if any(table.doubled for table in result.tables):
        print("then: byov-migrate sync --repair last")


def _amount(table: TableAdopted) -> str:
    return f"{table.records:,} records, {sum(table.vectors.values()):,} vectors"


def _more(table: TableAdopted) -> list[str]:
    """What is not as it should be, or cannot be proved as well as before."""
    by_sync = [
        (table.differing, "differ from their rows"),
        (table.gone, "have no row any more"),
        (table.missing, "rows have no record"),
    ]
    found = [f"{count:,} {what}" for count, what in by_sync if count]
    lines = [f"  {', '.join(found)}: the next sync takes care of them"] if found else []
    if adopted := sum(table.scores_adopted.values()):
        lines.append(f"  {adopted:,} vectors are taken on RushDB's word: nothing here holds what was sent")
    if table.doubled:
        lines.append(f"  {table.doubled:,} records are second copies; until they are repaired every sync is refused")
    if table.others:
        lines.append(f"  {table.others:,} records without byovKey are somebody else's and stay so")
    return lines


def print_found(table: TableAdopted) -> None:
    """What was found before the question, to stderr: stdout is for the result."""
    owner = f"the marker names state {table.owner[:8]}, generation {table.owner_generation}"
    lines = [f"{table.label} ({table.table}): {_amount(table)} of ours; {owner}", *_more(table)]
    lines.append("  a new state takes the label over; the one that is lost, should it turn up again, then only reads")
    print("\n".join(lines), file=sys.stderr)


def print_question(label: str) -> None:
    """The question itself; the answer is typed behind it."""
    print(f"To adopt them, type the label ({label}): ", end="", file=sys.stderr, flush=True)
