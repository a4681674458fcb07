"""Filters as `where` documents of RushDB, whose comparisons know types."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byov_migrate.errors import ConfigurationError
from byov_migrate.filters import parse_filter
from byov_migrate.target.where import to_where


def where(*texts: str) -> dict[str, Any]:
    """The document of filters whose names are taken as they stand."""
    return to_where([parse_filter(text) for text in texts], lambda item: tuple(item.name.split(".")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 5", {"a": 5}),
        ("a = -5", {"a": -5}),
        ("a = +5", {"a": 5}),
        ("a = 5.0", {"a": 5}),
        ("a = 5.5", {"a": 5.5}),
        ("a = .5", {"a": 0.5}),
        ("a = 1e3", {"a": 1000}),
        ("a = 9007199254740991", {"a": 9007199254740991}),
        ("a = true", {"a": True}),
        ("a = false", {"a": False}),
        ("a = True", {"a": "True"}),
        ('a = "5"', {"a": "5"}),
        ('a = "true"', {"a": "true"}),
        ("a = Berlin", {"a": "Berlin"}),
        ("a = nan", {"a": "nan"}),
        ("a = 1_000", {"a": "1_000"}),
        ("a = 5 apples", {"a": "5 apples"}),
        ('a = ""', {"a": ""}),
        ("a != 5", {"a": {"$ne": 5}}),
        ("a < 5", {"a": {"$lt": 5}}),
        ("a <= 5", {"a": {"$lte": 5}}),
        ("a > 5", {"a": {"$gt": 5}}),
        ("a >= 5", {"a": {"$gte": 5}}),
        ("a >= 2026-01-31", {"a": {"$gte": "2026-01-31"}}),
        ("a < 2026-01-31T10:00:00Z", {"a": {"$lt": "2026-01-31T10:00:00Z"}}),
        ("a ~ Berlin", {"a": {"$contains": "Berlin"}}),
        ("a ~ C++ (senior)", {"a": {"$contains": r"C\+\+ \(senior\)"}}),
        (r"a ~ 50%\x", {"a": {"$contains": r"50%\\x"}}),
        ("a ~ 5", {"a": {"$contains": "5"}}),
        ("a in (1, 2)", {"a": {"$in": [1, 2]}}),
        ("a in (x, y)", {"a": {"$in": ["x", "y"]}}),
        ("a in (true, false)", {"a": {"$in": [True, False]}}),
        ("a in (1, x)", {"a": {"$in": ["1", "x"]}}),
        ("a in (1, true)", {"a": {"$in": ["1", "true"]}}),
        ('a in ("1", "2")', {"a": {"$in": ["1", "2"]}}),
        ("a is null", {"a": {"$exists": False}}),
        ("a is not null", {"a": {"$exists": True}}),
        ("Company.name = Acme", {"Company": {"name": "Acme"}}),
        ("Company.City.name = Bonn", {"Company": {"City": {"name": "Bonn"}}}),
    ],
)
def test_each_comparison_has_its_document(text: str, expected: dict[str, Any]) -> None:
    """A number sent as text finds nothing, and says nothing of it."""
    found = where(text)
    assert found == expected
    assert repr(found) == repr(expected)  # 5, 5.0 and True are equal in Python, not on the wire


def test_several_filters_must_all_hold() -> None:
    """Two conditions on one property must not overwrite each other, as keys of one object would."""
    assert where("a > 1", "a < 5") == {"$and": [{"a": {"$gt": 1}}, {"a": {"$lt": 5}}]}


def test_no_filter_is_no_condition() -> None:
    """An empty `$and` is not known to be understood."""
    assert where() == {}


def test_filters_stand_beside_each_other_where_no_name_is_there_twice() -> None:
    """The form in which own and linked conditions are known to be understood together."""
    assert where("a > 1", "Company.name = x") == {"a": {"$gt": 1}, "Company": {"name": "x"}}


def test_filters_across_one_label_are_about_one_linked_record() -> None:
    """A company in Bonn with 5 employees: not one in Bonn and another with 5."""
    assert where("Company.city = Bonn", "Company.size = 5") == {"Company": {"city": "Bonn", "size": 5}}
    twice = where("Company.size > 5", "a = 1", "Company.size < 9")
    assert twice == {"a": 1, "Company": {"$and": [{"size": {"$gt": 5}}, {"size": {"$lt": 9}}]}}


def test_a_property_that_is_named_like_a_label_loses_neither_condition() -> None:
    """One object has room for one of them."""
    assert where("Company = x", "Company.name = y") == {"$and": [{"Company": "x"}, {"Company": {"name": "y"}}]}


def test_a_column_becomes_its_property() -> None:
    """What the filter names and what RushDB calls it are two things."""
    assert to_where([parse_filter("salary_min > 1")], lambda _item: ("salaryMin",)) == {"salaryMin": {"$gt": 1}}


@pytest.mark.parametrize("text", ["a > Berlin", 'a <= "5"', "a < true", "a >= 10:00", 'a ~ say "hi"'])
def test_what_rushdb_cannot_compare_is_refused_with_a_way_out(text: str) -> None:
    """RushDB answers 400 to an order of texts, and 500 to a search for a double quote."""
    with pytest.raises(ConfigurationError) as caught:
        where(text)
    assert "--where" in str(caught.value)


@given(st.text(alphabet=st.characters(exclude_characters='"', exclude_categories=["Cs"]), min_size=1))
def test_what_is_searched_for_is_never_a_pattern(text: str) -> None:
    """`$contains` is a regular expression on the platform: `C++` must find C++ and nothing else."""
    quoted = text.replace("\\", "\\\\")
    pattern = where(f'a ~ "{quoted}"')["a"]["$contains"]
    assert re.fullmatch(pattern, text)
