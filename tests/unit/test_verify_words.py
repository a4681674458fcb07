"""When a text shows through: eight words in a row, however they are written."""

from __future__ import annotations

from typing import Any

import pytest

from byov_migrate.jobs.verify.words import runs, shows

TEXT = "Our ward cares for children from the first day to the eighteenth year"


@pytest.mark.parametrize(
    "value",
    [
        TEXT,
        f"It says: {TEXT}.",
        "OUR WARD - cares, for children; from the first",
        "children from\nthe first   day to the eighteenth",
        ["a", f"as they say {TEXT}"],
        TEXT.split(),
    ],
)
def test_eight_words_in_a_row_show(value: Any) -> None:
    """Case, punctuation and white space change nothing; a list of words is a text too."""
    assert shows(runs(TEXT), value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "our ward cares for children from the",
        "our ward cares for the children from the first day",
        17,
        True,
        ["our ward cares for", "children from the last day"],
    ],
)
def test_fewer_words_or_others_do_not(value: Any) -> None:
    """Seven words may be anybody's."""
    assert not shows(runs(TEXT), value)


def test_a_text_of_fewer_words_has_no_run() -> None:
    """A title of three words cannot be told from others."""
    assert runs("a short text") == set()
    assert not shows(runs("a short text"), "a short text")
