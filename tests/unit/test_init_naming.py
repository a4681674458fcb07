"""Names that `init` proposes: labels, properties, types of relationships."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byov_migrate.jobs.init.naming import label_of, property_of, singular, type_of, words


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("salary_min", ["salary", "min"]),
        ("salaryMin", ["salary", "min"]),
        ("Salary Min", ["salary", "min"]),
        ("HTMLPage2", ["html", "page", "2"]),
        ("größe_cm", ["gr", "öß", "e", "cm"]),
        ("__", []),
    ],
)
def test_a_name_is_taken_apart_however_it_is_spelled(name: str, parts: list[str]) -> None:
    """Snake, camel and words are one to whoever judges a column by its name."""
    assert parts == words(name)


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("categories", "category"),
        ("classes", "class"),
        ("boxes", "box"),
        ("branches", "branch"),
        ("films", "film"),
        ("series", "series"),
        ("status", "status"),
        ("analysis", "analysis"),
        ("glass", "glass"),
        ("bus", "bus"),
    ],
)
def test_a_plural_becomes_its_singular_and_a_singular_stays(plural: str, one: str) -> None:
    """A label names one record."""
    assert one == singular(plural)


@pytest.mark.parametrize(
    ("schema", "table", "taken", "label"),
    [
        ("public", "film_categories", (), "FilmCategory"),
        ("public", "Order Details", (), "OrderDetail"),
        ("public", "2024_jobs", (), "Table2024Job"),
        ("public", "日本", (), "Table"),
        ("public", "café", (), "Cafe"),
        ("back office", "notes", ("Note",), "BackOfficeNote"),
        ("a", "notes", ("Note", "ANote"), "Note2"),
        ("public", "byov_migration", (), "PublicByovMigration"),
    ],
)
def test_a_label_is_a_free_identifier(schema: str, table: str, taken: tuple[str, ...], label: str) -> None:
    """RushDB answers 500 to others."""
    assert label == label_of(schema, table, taken)


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_a_label_is_an_identifier_whatever_the_table_is_called(schema: str, table: str) -> None:
    """Names with quotes, spaces, other scripts, nothing but signs."""
    first = label_of(schema, table, ())
    second = label_of(schema, table, (first,))
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", first)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", second)
    assert first != second


@pytest.mark.parametrize(
    ("column", "taken", "name"),
    [
        ("salary_min", (), "salary_min"),
        ("TrackId", (), "TrackId"),
        ("größe", (), "größe"),
        ("Order No.", (), "orderNo"),
        ("data", (), "jobData"),
        ("total", (), "jobTotal"),
        ("byov_key", (), "jobByovKey"),
        ("__typename", (), "typename"),
        ("order no", ("orderNo",), "orderNo2"),
        ("%%", (), "column"),
    ],
)
def test_a_property_keeps_its_columns_name_unless_it_cannot(column: str, taken: tuple[str, ...], name: str) -> None:
    """Reserved names are refused by the configuration, others have to be quoted in each query."""
    assert name == property_of(column, "Job", taken)


@pytest.mark.parametrize(
    ("column", "kind"),
    [("original_language_id", "ORIGINAL_LANGUAGE"), ("ArtistId", "ARTIST"), ("id", "ID"), ("2nd", "TO_2_ND")],
)
def test_a_relationship_is_named_after_the_foreign_keys_column(column: str, kind: str) -> None:
    """Two keys to one table are told apart by it."""
    assert kind == type_of(column)
