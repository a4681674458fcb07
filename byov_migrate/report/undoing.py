"""What taking a migration back would delete, and what it has left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byov_migrate.jobs.undo import Extent, KeptIndex, TableUndone, UndoResult


def print_undo(result: UndoResult) -> None:
    """A line a table with what the target holds now, and a line for everything that stays for a reason."""
    for table in result.tables:
        print("\n".join(_lines(table)))


def _lines(table: TableUndone) -> list[str]:
    names = ", ".join(table.indexes_deleted)
    parts = [f"{table.label}: {table.ours:,} ours, {table.others:,} others untouched", f"{table.deleted:,} deleted"]
    parts += [f"index on {names} deleted"] if names else []
    lines = ["; ".join(parts)]
    if table.strange:
        lines.append(f"  {strange_sentence(table.strange)}; they stay")
    return lines + [_kept_line(index) for index in table.indexes_kept]


def strange_sentence(count: int) -> str:
    """Records that look like ours, and that this state cannot vouch for."""
    return f"{count:,} records carry byovKey but are not in this state"


def _kept_line(index: KeptIndex) -> str:
    if index.several:
        return f"  the indexes on {index.property_name} stay: there are several, and which is ours cannot be told"
    return (
        f"  the index on {index.property_name} stays: it holds {index.vectors:,} vectors of records that are not ours"
    )


def print_extent(extent: Extent) -> None:
    """The counts before the question, to stderr: stdout is for the result."""
    ours = f"{extent.known:,} records of this state, with their vectors, indexes and marker"
    lines = [
        f"{extent.label} ({extent.table}): {ours}, would be removed",
        f"  {extent.others:,} records without byovKey are somebody else's and stay",
    ]
    if extent.unsettled:
        lines.append(f"  {extent.unsettled:,} batches of an earlier run are looked for and removed as well")
    if extent.strange:
        lines.append(f"  {strange_sentence(extent.strange)}; they stay")
    print("\n".join(lines), file=sys.stderr)


def print_question(label: str) -> None:
    """The question itself; the answer is typed behind it."""
    print(f"To remove them, type the label ({label}): ", end="", file=sys.stderr, flush=True)
