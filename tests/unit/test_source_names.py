"""Names as people write them."""

from __future__ import annotations

import pytest

from byov_migrate.source.names import candidates, nearest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("public.job", ("public", "job")),
        ("job", ("", "job")),
        ("public.My Table", ("public", "My Table")),
        ('public."My Table"', ("public", "My Table")),
        ('"My Schema"."a.b"', ("My Schema", "a.b")),
        ('"a""b"', ("", 'a"b')),
        ('PUBLIC."Job"', ("public", "Job")),
    ],
)
def test_the_first_reading_is_the_literal_one(text: str, expected: tuple[str, str]) -> None:
    """Copying a name out of psql, quoted or not, finds the table."""
    assert candidates(text)[0] == expected


def test_a_name_in_capitals_is_tried_in_lower_case_last() -> None:
    """SQL folds unquoted names; a table that really has capitals wins."""
    assert candidates("Public.Job")[-2:] == [("public", "job"), ("", "public.job")]


def test_a_dot_may_belong_to_the_table() -> None:
    """`my.table` in some schema is found too, after schema `my`."""
    assert candidates("my.table") == [("my", "table"), ("", "my.table")]


def test_the_hint_names_the_nearest_or_all() -> None:
    """A typo is answered with the right word, anything else with the choice."""
    assert nearest("descripton", ["id", "description"]) == '; did you mean "description"?'
    assert nearest("zzz", ["b", "a"]) == "; there are: a, b"
