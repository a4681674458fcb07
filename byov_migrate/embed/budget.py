"""Batches and windows: pure arithmetic on token counts."""

from __future__ import annotations

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices of `lengths` in batches, longest first, so that neighbours are of nearly one length.

    A batch costs its longest length times its rows; that is at most `token_budget`, unless one row alone is longer.
    """
    order = sorted(range(len(lengths)), key=lambda index: lengths[index], reverse=True)
    batches = []
    start = 0
    while start < len(order):
        rows = max(1, token_budget // max(1, lengths[order[start]]))
        batches.append(order[start : start + rows])
        start += rows
    return batches


def padded_tokens(lengths: Sequence[int], batch: Sequence[int]) -> int:
    """Tokens that are computed for a batch, padding included."""
    return max((lengths[index] for index in batch), default=0) * len(batch)


def cut_windows(length: int, room: int) -> list[range]:
    """Positions 0 to `length` in consecutive windows of `room`, the last one shorter; one empty window for none."""
    if room < 1:
        raise ValueError("a window needs room for at least one token")
    return [range(start, min(start + room, length)) for start in range(0, length, room)] or [range(0)]
