"""The example record: types to be seen, values not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byov_migrate.jobs.planning.masking import Masked, mask
from byov_migrate.records import Outgoing

SCALARS = st.one_of(st.text(min_size=1), st.integers(), st.floats(allow_nan=False), st.booleans())


def texts_of(value: Outgoing) -> list[str]:
    """What must not be read."""
    return [f"{item}" for item in (value if isinstance(value, list) else [value])]


@given(value=st.one_of(SCALARS, st.lists(SCALARS, min_size=1, max_size=5)))
def test_no_value_is_shown(value: Outgoing) -> None:
    """Whatever it is made of: no letter, no digit, no other sign of any script is left of it."""
    [masked] = mask({"x": value}).values()
    if not isinstance(value, bool) and not (isinstance(value, list) and any(isinstance(v, bool) for v in value)):
        shape = masked.shape.rpartition("and ")[0] if isinstance(value, list) and len(value) > 3 else masked.shape
        assert not any(map(str.isalnum, shape))
        assert all(character in " .,:;/@()[]{}+-_*#" for character in shape)
    assert all(text != masked.shape or set(text) <= {"*", "#"} for text in texts_of(value))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Senior Nurse, 2nd floor", Masked("text", "****** *****, #** *****")),
        (52500, Masked("number", "#####")),
        (-1.5, Masked("number", "-#.#")),
        (True, Masked("boolean", "true or false")),
        ("2026-01-31T06:00:00+00:00", Masked("text", "####-##-##*##:##:##+##:##")),
        (["go", "sql", "c", "r"], Masked("list of text", "**, ***, *, and 1 more")),
        ([], Masked("list of nothing", "")),
        ("", Masked("text", "")),
        ("--", Masked("text", "**")),
        ("名前", Masked("text", "**")),
    ],
)
def test_the_shape_of_a_value_is_shown(value: Outgoing, shown: Masked) -> None:
    """Enough to see that a salary is a number and a date is text."""
    assert mask({"x": value}) == {"x": shown}


def test_a_long_text_is_cut() -> None:
    """A description would fill the screen."""
    assert mask({"x": "a" * 100})["x"].shape == "*" * 40 + "..."
