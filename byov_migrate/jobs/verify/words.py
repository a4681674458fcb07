"""Whether a text shows through in a property: a run of eight words that both hold. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

RUN_WORDS = 8
_WORD = re.compile(r"\w+")


def runs(text: str) -> set[tuple[str, ...]]:
    """Every run of eight words of a text, whatever its case and punctuation; none of a shorter text."""
    words = _WORD.findall(text.casefold())
    return {tuple(words[start : start + RUN_WORDS]) for start in range(len(words) - RUN_WORDS + 1)}


def shows(withheld: set[tuple[str, ...]], value: Any) -> bool:
    """Whether a property's value holds one of these runs."""
    return bool(withheld) and any(not withheld.isdisjoint(runs(text)) for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (text for item in value for text in _texts(item))
        yield " ".join(item for item in value if isinstance(item, str))
