"""Runs of eight words that stand both in what is sent and in what is withheld."""

from __future__ import annotations

from typing import Any

import pytest

from byov_migrate.config import TableConfig
from byov_migrate.jobs.planning.overlap import Overlap, find_overlaps
from byov_migrate.jobs.planning.sampling import SampledRow
from byov_migrate.records import Outgoing, Row

SECRET = "Our ward cares for children from all over the city, by day and by night."
EIGHT = "ward cares for children from all over the"


def table(**changed: Any) -> TableConfig:
    """Title and tags leave, the description stays."""
    embedding = {"property": "vec", "text": "{title}\n{description}", "model": "m"}
    plain = {"name": "job", "label": "Job", "columns": ["title", "tags"], "embeddings": [embedding]}
    return TableConfig.model_validate({**plain, **changed})


def row(title: str, tags: Outgoing | None = None, withheld: str = SECRET) -> SampledRow:
    """A row as it is sampled."""
    properties: dict[str, Outgoing] = {"title": title} | ({} if tags is None else {"tags": tags})
    return SampledRow(Row("1", ("1",), properties, (withheld,)), (("description", withheld),))


def found(rows: list[SampledRow], config: TableConfig | None = None) -> dict[str, Overlap]:
    """Findings by column."""
    return {item.column: item for item in find_overlaps(config or table(), rows, ["description"])}


@pytest.mark.parametrize(
    ("title", "rows"),
    [
        (EIGHT, 1),
        (EIGHT.upper().replace(" ", " - "), 1),
        (f"Nurse: {EIGHT} region", 1),
        ("cares for children from all over the", 0),
        ("ward cares for children from many over the city", 0),
        ("Nurse", 0),
        ("", 0),
    ],
)
def test_eight_words_in_a_row_are_a_repetition_and_seven_are_not(title: str, rows: int) -> None:
    """Whatever stands around them, in whatever letters; a common phrase is none."""
    assert found([row(title)])["title"].rows == rows


def test_a_list_is_read_as_one_text() -> None:
    """A description cut into sentences, or words, has left all the same."""
    assert found([row("Nurse", list[Any](EIGHT.split()))])["tags"].rows == 1


def test_the_share_is_of_all_sampled_rows_and_names_what_is_repeated() -> None:
    """One in a hundred is tolerated, two are not."""
    plain = [row("Nurse", str(number)) for number in range(98)]
    one = found([*plain, row("Nurse"), row(EIGHT)])["title"]
    two = found([*plain, row(EIGHT), row(EIGHT)])["title"]
    assert (one.share, one.is_refused, one.withheld) == (0.01, False, ("description",))
    assert (two.share, two.is_refused) == (0.02, True)


def test_what_is_allowed_is_told_and_not_refused() -> None:
    """A person has decided."""
    item = found([row(EIGHT)], table(allow_overlap=["title"]))["title"]
    assert (item.share, item.is_allowed, item.is_refused) == (1.0, True, False)


def test_nothing_is_compared_where_nothing_is_withheld() -> None:
    """No finding, instead of findings of nothing."""
    assert find_overlaps(table(), [row(EIGHT)], []) == ()


def test_a_text_that_is_sent_is_looked_at_too() -> None:
    """Two embeddings: one sends its text, which holds what the other withholds."""
    items = [
        {"property": "full", "text": "{title}", "model": "m", "send_text": True},
        {"property": "vec", "text": "{description}", "model": "m"},
    ]
    sampled = SampledRow(Row("1", ("1",), {}, (EIGHT, SECRET)), (("description", SECRET),))
    assert found([sampled], table(columns=["tags"], embeddings=items))["full"].is_refused


def test_a_renamed_column_is_known_by_its_own_name() -> None:
    """`allow_overlap` lists columns, as the rest of the configuration does."""
    config = table(rename={"title": "jobTitle"})
    sampled = SampledRow(Row("1", ("1",), {"jobTitle": EIGHT}, (SECRET,)), (("description", SECRET),))
    assert found([sampled], config)["title"].is_refused
