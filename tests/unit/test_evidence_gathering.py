"""What the evidence asks for, decided by the configuration alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from byov_migrate.config import TableConfig
from byov_migrate.jobs.evidence import columns_read, columns_that_stay, rows_written, silent_carriers
from byov_migrate.jobs.verify import Verification, to_report
from tests.evidences import made_run, made_verification
from tests.unit.config_files import parse, with_embedding


def table(columns: list[str] | None = None, rename: dict[str, str] | None = None, **embedding: Any) -> TableConfig:
    """One table with one embedding."""
    content = with_embedding(**embedding)
    content["tables"][0] |= {"columns": columns or ["id", "title"], "rename": rename or {}, "where": ["status = open"]}
    return parse(content).tables[0]


@dataclass(frozen=True)
class Column:
    """A key's column."""

    name: str


def test_what_carries_a_vector_has_to_be_empty_unless_the_text_is_sent() -> None:
    """A carrier that is left out would never be looked at; one too many would be an alarm for nothing."""
    assert list(silent_carriers(table())) == ["description", "descriptionAlt"]
    assert list(silent_carriers(table(send_text=True))) == ["descriptionAlt"]
    assert list(silent_carriers(table(send_text=True, spare=False))) == []


def test_a_column_of_a_carriers_name_is_judged_by_what_the_carrier_holds() -> None:
    """The property is there in every record, so that its mere presence says nothing."""
    assert list(columns_that_stay(table(text="{title} {description} {body}"))) == [("body", True)]


def test_a_column_is_not_asked_for_where_the_answer_would_mislead() -> None:
    """Another column that leaves under its name; a name that RushDB would choke on."""
    renamed = table(columns=["id", "title"], rename={"title": "body"}, text="{body}")
    assert list(columns_that_stay(renamed)) == [("body", False)]
    assert list(columns_that_stay(table(text="{odd name}"))) == [("odd name", False)]


def test_every_column_that_is_looked_at_is_named_once() -> None:
    """The key, what leaves, what is embedded, what rows are chosen by."""
    read = columns_read(table(columns=["id", "title"], text="{title}\n{body}"), [Column("id")])
    assert read == ("id", "title", "body", "status")


@pytest.mark.parametrize(
    ("summary", "rows"),
    [({"rows": 7, "updated": 2}, 7), ({"created": 3, "updated": 4, "unchanged": 9}, 7), ({"stored": 1}, 0), ({}, 0)],
)
def test_rows_that_a_run_wrote_are_counted_once(summary: dict[str, Any], rows: int) -> None:
    """A backfill's rows include those it wrote over; a sync tells them apart."""
    assert rows_written(summary) == rows


def test_a_run_that_wrote_nothing_has_no_rate() -> None:
    """A sync that found nothing is no slow one."""
    assert made_run(0).rate == pytest.approx(20_000 / 890)
    idle = made_run(0).__class__("a" * 32, "sync", 0.0, 1.0, 0, None, 0, 0, 1.0)
    assert idle.rate is None


def test_made_up_evidence_is_of_the_shape_that_verify_gives() -> None:
    """The pages of the tests show what real ones show."""
    result: Verification = made_verification()
    [told] = to_report(result)["tables"]
    assert {"rows", "records", "vectors", "counts", "behind", "samples"} <= told.keys()
