from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from byov_migrate.embed.tokens import TextTokenizer
from tests.models import make_tiny_model

LONG = "the team and the work " * 10  # 50 tokens


@pytest.fixture
def backend(tmp_path: Path) -> Tokenizer:
    """The tokenizer of a tiny model."""
    return Tokenizer.from_file(str(make_tiny_model(tmp_path) / "tokenizer.json"))


def test_rows_equal_the_tokenizers_own_truncation(backend: Tokenizer) -> None:
    """Special tokens stay at both ends when a text is cut."""
    reader = TextTokenizer(Tokenizer.from_str(backend.to_str()), 16)
    backend.enable_truncation(16)
    for text in ("", "the team", LONG, "the [SEP] team", "12 %"):
        assert reader.read([text], "data: ")[0].rows[0] == backend.encode(f"data: {text}").ids


def test_settings_baked_into_the_file_do_not_cut_or_pad(backend: Tokenizer) -> None:
    """A tokenizer.json may carry the truncation and padding of its training."""
    backend.enable_truncation(8)
    backend.enable_padding(length=100)
    assert TextTokenizer(backend, 64).count(["the team", LONG]) == [4, 52]


def test_a_cut_text_is_known_with_its_whole_length(backend: Tokenizer) -> None:
    """Truncated texts are counted and reported, never cut silently."""
    short, long = TextTokenizer(backend, 16).read(["the team", LONG])
    assert (short.is_cut, short.length, long.is_cut, long.length) == (False, 4, True, 52)


def test_a_text_that_just_fits_is_not_cut(backend: Tokenizer) -> None:
    """The window counts the special tokens."""
    exact, one_more = TextTokenizer(backend, 16).read(["team " * 14, "team " * 15])
    assert (len(exact.rows[0]), exact.is_cut, one_more.is_cut) == (16, False, True)


def test_a_model_that_keeps_the_end_loses_the_beginning(backend: Tokenizer) -> None:
    """Some tokenizers truncate on the left."""
    row = TextTokenizer(backend, 5, keeps_end=True).read(["a b c d e"])[0].rows[0]
    assert [backend.id_to_token(token) for token in row] == ["[CLS]", "c", "d", "e", "[SEP]"]


def test_windows_read_a_long_text_whole(backend: Tokenizer) -> None:
    """With `mean` no token is lost and none is read twice."""
    passage = TextTokenizer(backend, 16).read_windows([LONG])[0]
    content = [token for row in passage.rows for token in row[1:-1]]
    assert content == backend.encode(LONG).ids[1:-1]
    assert passage.weights == (14, 14, 14, 8)
    assert all(len(row) <= 16 for row in passage.rows)


def test_every_window_begins_with_the_prompt(backend: Tokenizer) -> None:
    """A model trained with a prompt reads a text without it as something else."""
    passage = TextTokenizer(backend, 16).read_windows([LONG], "data: ")[0]
    prompt = backend.encode("data:").ids[1:-1]
    assert all(row[1 : 1 + len(prompt)] == prompt for row in passage.rows)
    assert [token for row in passage.rows for token in row[1 + len(prompt) : -1]] == backend.encode(LONG).ids[1:-1]


def test_a_short_text_is_one_window(backend: Tokenizer) -> None:
    """`mean` changes nothing for a text that fits."""
    reader = TextTokenizer(backend, 16)
    assert reader.read_windows(["the team"], "data: ") == reader.read(["the team"], "data: ")
