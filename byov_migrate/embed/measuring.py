"""How long texts are for a model, and how fast it reads them on this device: what `plan` needs to know."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np

from byov_migrate.config import LongText
from byov_migrate.embed.budget import plan_batches
from byov_migrate.embed.contention import processor_time
from byov_migrate.embed.encoding import Encoder
from byov_migrate.records import Vector

SLICE_S = 0.6


@dataclass(frozen=True, slots=True)
class TextLength:
    """Tokens of one text with prompt and special tokens: `whole` before anything is cut, `read` by the model."""

    whole: int
    read: int
    is_long: bool  # longer than the model's window


@dataclass(frozen=True, slots=True)
class Slice:
    """One timed call: tokens read and seconds taken."""

    tokens: int
    texts: int
    seconds: float


@dataclass(frozen=True)
class Measured:
    """What was timed, warm-up left out. `vectors`: some of those made, float32, shape (n, dimension).

    processor_share: of the processor time that was asked for, what other programs left; 1 on a machine of one's own.
    """

    slices: tuple[Slice, ...]
    processor_share: float
    vectors: Vector = field(repr=False)

    @property
    def tokens_a_second(self) -> float:
        """Over all slices."""
        return sum(item.tokens for item in self.slices) / max(sum(item.seconds for item in self.slices), 1e-9)


@dataclass(frozen=True, slots=True)
class Effort:
    """When measuring ends: after `slices` of them whose mean is certain to `precision`, or when its time is over.

    Its time is this share of what all the tokens will take, within `least_s` and `most_s`.
    """

    slices: int = 12
    precision: float = 0.01
    share: float = 0.25
    least_s: float = 1.0
    most_s: float = 20.0

    def budget_s(self, whole_s: float) -> float:
        """Seconds to measure for something that takes `whole_s`."""
        return min(max(self.share * whole_s, self.least_s), self.most_s)


_EFFORT = Effort()


def text_lengths(encoder: Encoder, texts: Sequence[str], long_text: LongText) -> list[TextLength]:
    """The length of each text, in order; the model itself is not run."""
    frame = encoder.count_tokens([""])[0]
    return [_length(whole, encoder.window, frame, long_text) for whole in encoder.count_tokens(texts)]


def _length(whole: int, window: int, frame: int, long_text: LongText) -> TextLength:
    """frame: tokens of the prompt and the special ones, which every row has."""
    if whole <= window:
        return TextLength(whole, whole, is_long=False)
    if long_text == "reject":
        return TextLength(whole, 0, is_long=True)
    if long_text == "truncate":
        return TextLength(whole, window, is_long=True)
    content = whole - frame
    rows = math.ceil(content / max(window - frame, 1))
    return TextLength(whole, content + rows * frame, is_long=True)


def measure(
    encoder: Encoder,
    texts: Sequence[tuple[str, TextLength]],
    page_texts: int,
    tokens: float,
    *,
    monotonic: Callable[[], float],
    effort: Effort = _EFFORT,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Measured:
    """Embed these texts, slice by slice, as a backfill would embed pages of `page_texts` of them.

    Each slice is a few batches of a page, short and long ones alike, so that each is like the whole. tokens: how many
    there will be to read; the fewer, the sooner it ends.
    """
    readable = [(text, length.read) for text, length in texts if length.read]
    if not readable:
        return Measured((), 1.0, np.empty((0, encoder.dimension), dtype=np.float32))
    pages = [_batches(readable[start : start + page_texts], encoder) for start in range(0, len(readable), page_texts)]
    step = max(len(pages[0]) // 2, 1)
    warm_up = _part(pages[0], 0, step)
    vectors = encoder.encode_documents(warm_up).vectors
    began = monotonic()
    warm_tokens = encoder.encode_documents(warm_up).tokens
    warm_s = max(monotonic() - began, 1e-9)
    budget_s = effort.budget_s(tokens * warm_s / max(warm_tokens, 1))
    batch_s = warm_s / len(pages[0][::step])
    a_slice = max(round(min(SLICE_S, budget_s / effort.slices) / batch_s), 2)
    timed = _timed(encoder, _parts(pages, a_slice), monotonic)
    before = processor_time()
    slices = tuple(_until_certain(timed, effort, budget_s, is_stopped))
    return Measured(slices, processor_time().share_since(before), vectors)


def _timed(encoder: Encoder, parts: Iterable[list[str]], monotonic: Callable[[], float]) -> Iterator[Slice]:
    for texts in parts:
        began = monotonic()
        encoded = encoder.encode_documents(texts)
        yield Slice(encoded.tokens, len(texts), monotonic() - began)


def _until_certain(
    timed: Iterable[Slice], effort: Effort, budget_s: float, is_stopped: Callable[[], bool]
) -> list[Slice]:
    slices: list[Slice] = []
    for part in timed:
        slices.append(part)
        is_late = sum(item.seconds for item in slices) >= budget_s and len(slices) > 1
        is_certain = len(slices) >= effort.slices and _uncertainty(slices) <= effort.precision
        if is_late or is_certain or is_stopped():
            break
    return slices


def _uncertainty(slices: Sequence[Slice]) -> float:
    """Standard error of the mean seconds a token, as a share of it."""
    pace = np.asarray([item.seconds / max(item.tokens, 1) for item in slices])
    return float(pace.std(ddof=1) / np.sqrt(len(pace)) / max(pace.mean(), 1e-12))


def _batches(page: Sequence[tuple[str, int]], encoder: Encoder) -> list[list[str]]:
    planned = plan_batches([length for _, length in page], encoder.batch_tokens)
    return [[page[index][0] for index in batch] for batch in planned]


def _part(batches: Sequence[list[str]], start: int, step: int) -> list[str]:
    return [text for batch in batches[start::step] for text in batch]


def _parts(pages: Sequence[Sequence[list[str]]], batches_a_slice: int) -> Iterator[list[str]]:
    """Slices of all pages in turn, over and over."""
    steps = [max(round(len(page) / batches_a_slice), 1) for page in pages]
    for start in cycle(range(max(steps))):
        for page, step in zip(pages, steps, strict=True):
            if start < step:
                yield _part(page, start, step)
