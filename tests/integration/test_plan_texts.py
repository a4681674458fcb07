"""Tokens counted for a plan, against the tokenizer and against what an encoder reads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from byov_migrate.config import LongText, ModelConfig
from byov_migrate.embed import Encoder, load_encoder
from byov_migrate.embed.measuring import Effort, measure, text_lengths
from tests.models import make_tiny_model

WINDOW = 64
TEXTS = ["the data team", "work " * 20, "and the data work team, " * 30, "word " * 200, "a", "ing er ed " * 61]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reads 64 tokens."""
    return make_tiny_model(tmp_path_factory.mktemp("model"), max_tokens=WINDOW)


def encoder_of(model: Path, long_text: LongText = "truncate", prompt: str = "") -> Encoder:
    """The model, as configured."""
    settings = {"path": str(model), "device": "cpu", "long_text": long_text, "document_prompt": prompt}
    return load_encoder(ModelConfig.model_validate(settings))


def test_lengths_are_the_tokenizers_own(model: Path) -> None:
    """Read with the library itself: prompt and special tokens are in it, nothing is cut."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    lengths = text_lengths(encoder_of(model, prompt="work: "), TEXTS, "truncate")
    assert [item.whole for item in lengths] == [len(tokenizer.encode(f"work: {text}").ids) for text in TEXTS]
    assert [item.is_long for item in lengths] == [item.whole > WINDOW for item in lengths]
    assert 0 < sum(item.is_long for item in lengths) < len(TEXTS)


@pytest.mark.parametrize("long_text", ["truncate", "mean", "reject"])
@pytest.mark.parametrize("prompt", ["", "work: "])
def test_the_tokens_read_are_those_that_an_encoder_reads(model: Path, long_text: LongText, prompt: str) -> None:
    """Time is estimated from these: windows repeat the prompt, a rejected text costs nothing."""
    encoder = encoder_of(model, long_text, prompt)
    counted = sum(item.read for item in text_lengths(encoder, TEXTS, long_text))
    assert counted == encoder.encode_documents(TEXTS).tokens


def ticking() -> Iterator[float]:
    """A clock by which every call takes a second."""
    return (float(tick) for tick in itertools.count())


def test_slices_are_timed_after_a_warm_up_and_cover_short_and_long_texts(model: Path) -> None:
    """The first calls of a model are slow; a slice of long texts alone would be too."""
    encoder = encoder_of(model)
    texts = [f"{number} " + "work " * (number % 90) for number in range(500)]
    lengths = text_lengths(encoder, texts, "truncate")
    mean = sum(item.read for item in lengths) / len(lengths)
    clock = ticking()
    some = list(zip(texts, lengths, strict=True))
    effort = Effort(slices=8, precision=1.0, least_s=1000, most_s=1000)
    found = measure(encoder, some, 250, 1e9, monotonic=lambda: next(clock), effort=effort)
    assert len(found.slices) == 8
    assert all(part.seconds == 1.0 for part in found.slices)
    assert all(0.6 * mean < part.tokens / part.texts < 1.4 * mean for part in found.slices)
    assert found.vectors.shape[1] == encoder.dimension


def test_measuring_ends_in_time_and_when_it_is_told_to(model: Path) -> None:
    """A plan that takes as long as the backfill is no plan; Ctrl-C is heard between two slices."""
    encoder = encoder_of(model)
    texts = [f"{number} " + "work " * (number % 50) for number in range(300)]
    some = list(zip(texts, text_lengths(encoder, texts, "truncate"), strict=True))
    clock = ticking()
    hurried = measure(encoder, some, 250, 1e9, monotonic=lambda: next(clock), effort=Effort(most_s=0.0))
    stopped = measure(encoder, some, 250, 1e9, monotonic=lambda: next(clock), is_stopped=lambda: True)
    assert (len(hurried.slices), len(stopped.slices)) == (2, 1)


def test_without_texts_nothing_is_run(model: Path) -> None:
    """An empty table, or one whose texts are all rejected."""
    encoder = encoder_of(model, "reject")
    texts = ["word " * 200]
    some = list(zip(texts, text_lengths(encoder, texts, "reject"), strict=True))
    found = measure(encoder, some, 250, 0.0, monotonic=lambda: 0.0)
    assert (found.slices, found.vectors.shape) == ((), (0, encoder.dimension))
