from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byov_migrate.embed.budget import cut_windows, deal, padded_tokens, plan_batches

lengths_of_texts = st.lists(st.integers(min_value=1, max_value=600), max_size=60)


@given(lengths_of_texts, st.integers(min_value=64, max_value=4096))
def test_every_text_is_in_exactly_one_batch(lengths: list[int], budget: int) -> None:
    """A text left out has no vector, a text taken twice costs twice."""
    batches = plan_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))


@given(lengths_of_texts, st.integers(min_value=64, max_value=4096))
def test_padding_counts_towards_the_budget(lengths: list[int], budget: int) -> None:
    """Memory is taken by padded tokens; only a text that is longer by itself may exceed the budget, alone."""
    for batch in plan_batches(lengths, budget):
        assert padded_tokens(lengths, batch) <= budget or len(batch) == 1


def test_the_longest_texts_come_first() -> None:
    """Memory that does not suffice shows in the first batch, and neighbours have nearly one length."""
    assert plan_batches([10, 500, 30, 490, 20], 1000) == [[1, 3], [2, 4, 0]]


def test_sorted_batches_pad_little() -> None:
    """Batches in order of arrival would compute nearly twice the tokens for alternating lengths."""
    lengths = [10, 200] * 50
    padded = sum(padded_tokens(lengths, batch) for batch in plan_batches(lengths, 2000))
    assert padded <= 1.03 * sum(lengths)


@given(lengths_of_texts, st.integers(min_value=1, max_value=4))
def test_devices_get_equal_shares(lengths: list[int], hands: int) -> None:
    """Every text to one device, and none of them waits long for another."""
    shares = deal(lengths, hands)
    assert sorted(index for share in shares for index in share) == list(range(len(lengths)))
    tokens = [sum(lengths[index] for index in share) for share in shares]
    assert max(tokens) - min(tokens) <= max(lengths, default=0)


@given(st.integers(min_value=0, max_value=500), st.integers(min_value=1, max_value=60))
def test_windows_hold_every_token_once(length: int, room: int) -> None:
    """A token in no window is text that was not read, one in two counts double."""
    windows = cut_windows(length, room)
    assert [position for window in windows for position in window] == list(range(length))
    assert all(len(window) <= room for window in windows)


def test_a_text_without_tokens_has_one_empty_window() -> None:
    """A row of special tokens alone still gives a vector."""
    assert cut_windows(0, 10) == [range(0)]


def test_a_window_without_room_is_an_error() -> None:
    """A prompt as long as the window would otherwise loop over empty windows."""
    with pytest.raises(ValueError, match="room"):
        cut_windows(10, 0)


@pytest.mark.parametrize(("budget", "texts"), [(2048, 250), (32768, 2000)])
def test_texts_of_very_mixed_length_pad_little(budget: int, texts: int) -> None:
    """As many of 5 to 50 words as of 50 to 500: the short ones alone would fill a batch from end to end."""
    random = np.random.default_rng(1)
    lengths = np.minimum(np.exp(random.uniform(np.log(7), np.log(8000), texts)).astype(int), 512).tolist()
    batches = plan_batches(lengths, budget)
    assert sum(padded_tokens(lengths, batch) for batch in batches) <= 1.05 * sum(lengths)
    assert len(batches) <= 2 * sum(lengths) / budget  # small batches cost too
