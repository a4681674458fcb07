"""Texts to token ids: tokenised once, cut to the window or into windows, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from byov_migrate.embed.budget import cut_windows

Ids = list[int]


@dataclass(frozen=True)
class Passage:
    """One text as the model reads it: one row of token ids, or several windows with their weights.

    length: tokens of the whole text, prompt and special tokens included, before anything was cut.
    """

    rows: tuple[Ids, ...]
    weights: tuple[int, ...]
    length: int
    is_cut: bool


class TextTokenizer:
    """A fast tokenizer of the model, set to neither cut nor pad; what it puts around a text is kept apart.

    window: tokens of a row at most, special tokens included. keeps_end: cutting takes the beginning away.
    """

    def __init__(self, backend: Any, window: int, *, keeps_end: bool = False) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._keeps_end = keeps_end
        self.window = window
        self._prefix, self._suffix = _frame(backend)

    @property
    def room(self) -> int:
        """Tokens of text and prompt that fit into a row."""
        return self.window - len(self._prefix) - len(self._suffix)

    def count(self, texts: Sequence[str], prompt: str = "") -> list[int]:
        """Tokens of each text with prompt and special tokens, uncut."""
        return [len(encoding.ids) for encoding in self._backend.encode_batch_fast([prompt + text for text in texts])]

    def read(self, texts: Sequence[str], prompt: str = "") -> list[Passage]:
        """Each text as one row, cut to the window."""
        return [self._truncated(content) for content in self._contents([prompt + text for text in texts])]

    def read_windows(self, texts: Sequence[str], prompt: str = "") -> list[Passage]:
        """Each text whole: in one row if it fits, else in windows which all begin with the prompt."""
        passages = self.read(texts, prompt)
        long = [index for index, passage in enumerate(passages) if passage.is_cut]
        opening = self._contents([prompt.rstrip()])[0] if prompt else []
        room = self.room - len(opening)
        for index, content in zip(long, self._contents([texts[index] for index in long]), strict=True):
            windows = cut_windows(len(content), room)
            rows = tuple(self._framed(opening + content[window.start : window.stop]) for window in windows)
            passages[index] = Passage(rows, tuple(map(len, windows)), passages[index].length, is_cut=True)
        return passages

    def _contents(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each text without the special tokens around it."""
        first, last = len(self._prefix), len(self._suffix)
        encoded = self._backend.encode_batch_fast(list(texts))
        return [ids[first : len(ids) - last] for ids in (encoding.ids for encoding in encoded)]

    def _truncated(self, content: Ids) -> Passage:
        kept = content[-self.room :] if self._keeps_end else content[: self.room]
        length = len(content) + self.window - self.room
        return Passage((self._framed(kept),), (max(1, len(kept)),), length, is_cut=len(content) > self.room)

    def _framed(self, content: Ids) -> Ids:
        return [*self._prefix, *content, *self._suffix]


def _frame(backend: Any) -> tuple[Ids, Ids]:
    """Special tokens before and after a text, seen on a text of one letter."""
    encoding = backend.encode("a")
    before = len(list(takewhile(bool, encoding.special_tokens_mask)))
    after = len(list(takewhile(bool, reversed(encoding.special_tokens_mask))))
    return encoding.ids[:before], encoding.ids[len(encoding.ids) - after :]
