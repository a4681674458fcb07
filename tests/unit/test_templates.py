"""What the model sees of a row, and what a template must not be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byov_migrate.templates import TemplateError, parse_template

LITERAL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{}"), min_size=1)
ROW = {"title": "Driver", "city": "Bonn", "body": "Long\ntext", "null": None, "blank": " \t", "odd name": "x"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{title}", "Driver"),
        ("{title}\n{body}", "Driver\nLong\ntext"),
        ("{title} in {city}", "Driver in Bonn"),
        ("{title}{city}", "DriverBonn"),
        ("Title: {title}", "Title: Driver"),
        ("{odd name}", "x"),
        ("{title}\n{null}\n{city}", "Driver\nBonn"),
        ("{title}\n {null} {blank}\n{city}", "Driver\nBonn"),
        ("{title}\nCity: {null}", "Driver\nCity: "),
        ("{title}{null}", "Driver"),
        ("{title}\n\n{city}", "Driver\n\nBonn"),
        ("head\n{title}", "head\nDriver"),
        ("{null}\n{title}", "Driver"),
        ("{{{title}}}", "{Driver}"),
        ("{{title}} {city}", "{title} Bonn"),
        ("{{}} {title}", "{} Driver"),
        ("{title}{title}", "DriverDriver"),
        ("{null}", None),
        ("{blank}", None),
        ("{null}{blank}", None),
        ("always there {null}", None),
        ("head\n{blank}", None),
    ],
)
def test_rendering(source: str, expected: str | None) -> None:
    """A NULL renders as nothing, a line emptied by it goes, a row without any text has none."""
    assert parse_template(source).render(ROW) == expected


@pytest.mark.parametrize("source", ["{", "}", "{title", "title}", "{}", "{ti{tle}}", "{title}}", "{{title}", "{a\nb}"])
def test_a_brace_that_opens_or_closes_nothing_is_refused(source: str) -> None:
    """Guessing would send the model a text with half a column name in it."""
    with pytest.raises(TemplateError, match="brace"):
        parse_template(source)


@pytest.mark.parametrize("source", ["", "no column", "{{title}}"])
def test_a_template_without_a_column_is_refused(source: str) -> None:
    """Every row would have the same vector."""
    with pytest.raises(TemplateError, match="names no column"):
        parse_template(source)


def test_columns_come_once_in_order_of_first_use() -> None:
    """They are what is selected from PostgreSQL and listed as staying at home."""
    assert parse_template("{b} {a}\n{b}\n{c}").columns == ("b", "a", "c")


@given(
    st.lists(st.tuples(LITERAL.filter(lambda text: "\n" not in text), st.sampled_from(["a", "b", "c d"])), min_size=1)
)
def test_what_is_not_a_column_arrives_as_written(parts: list[tuple[str, str]]) -> None:
    """Literal text and values side by side, nothing added and nothing taken away."""
    values = {"a": "1", "b": "zwei", "c d": "III"}
    source = "".join(f"{text}{{{column}}}" for text, column in parts)
    assert parse_template(source).render(values) == "".join(text + values[column] for text, column in parts)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_is_never_read_as_a_template(value: str) -> None:
    """A posting that contains {salary} is text."""
    rendered = parse_template("{a}").render({"a": value, "salary": "secret"})
    assert rendered == (value if value.strip() else None)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_doubled_brace_is_a_brace(text: str) -> None:
    """Any text can be written in a template."""
    source = text.replace("{", "{{").replace("}", "}}") + "{a}"
    assert parse_template(source).render({"a": "x"}) == text + "x"


def test_a_column_that_the_row_lacks_is_a_bug_and_not_silence() -> None:
    """Reading the wrong row would embed nothing, and nobody would know."""
    with pytest.raises(KeyError):
        parse_template("{absent}").render({})
