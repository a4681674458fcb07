"""Batches and windows: pure arithmetic on token counts."""

from __future__ import annotations

from collections.abc import Sequence

MOST_PADDING = 0.05
"""Of a batch's tokens. A batch of more is cut, unless it is small: every batch costs something whatever its size."""
SMALLEST_SHARE = 4
"""A small batch computes at most this part of the budget."""


def plan_batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices of `lengths` in batches, longest first, so that neighbours are of nearly one length.

    A batch costs its longest length times its rows; that is at most `token_budget`, unless one row alone is longer.
    """
    order = sorted(range(len(lengths)), key=lambda index: lengths[index], reverse=True)
    batches = []
    start = 0
    while start < len(order):
        rows = _rows([lengths[index] for index in order[start:]], token_budget)
        batches.append(order[start : start + rows])
        start += rows
    return batches


def _rows(lengths: Sequence[int], token_budget: int) -> int:
    """How many of these, longest first, make a batch."""
    longest = max(1, lengths[0])
    real = 0
    for rows, length in enumerate(lengths):
        real += length
        padded = longest * (rows + 1)
        is_wasteful = padded > (1 + MOST_PADDING) * real and padded > token_budget // SMALLEST_SHARE
        if rows and (padded > token_budget or is_wasteful):
            return rows
    return len(lengths)


def deal(lengths: Sequence[int], hands: int) -> list[list[int]]:
    """Indices of `lengths` in as many lists, of nearly equal tokens and the same mixture of lengths."""
    order = sorted(range(len(lengths)), key=lambda index: lengths[index], reverse=True)
    return [order[start::hands] for start in range(hands)]


def padded_tokens(lengths: Sequence[int], batch: Sequence[int]) -> int:
    """Tokens that are computed for a batch, padding included."""
    return max((lengths[index] for index in batch), default=0) * len(batch)


def cut_windows(length: int, room: int) -> list[range]:
    """Positions 0 to `length` in consecutive windows of `room`, the last one shorter; one empty window for none."""
    if room < 1:
        raise ValueError("a window needs room for at least one token")
    return [range(start, min(start + room, length)) for start in range(0, length, room)] or [range(0)]
