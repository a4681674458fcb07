"""Hits on a terminal."""

from __future__ import annotations

import pytest

from byov_migrate.jobs.search import ApplicationCall, Explanation, Hit, SearchResult, Seconds
from byov_migrate.report.searching import print_application_call, print_search

PROPERTIES = {"title": "Nurse", "description": "", "byovKey": "12"}
TOLD = Explanation("index", "no filter", 1234, 768, Seconds(1.5, 0.01, 0.2, 0.03))


def result(*hits: Hit, explanation: Explanation | None = None) -> SearchResult:
    """A search by the index."""
    return SearchResult("Job", "description", hits, exact=False, seconds=0.2, explanation=explanation)


def test_a_hit_is_its_score_key_properties_text_and_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Without what is empty or ours; long texts are cut, NULL is told from an empty text."""
    print_search(result(Hit(0.91234, "12", PROPERTIES, "Nurse " * 50, {"secret": "s\n t", "gone": None, "empty": ""})))
    said = capsys.readouterr()
    first, text, *columns = said.out.splitlines()
    assert first == "0.912  12  title=Nurse"
    assert text.strip().startswith("Nurse Nurse")
    assert len(text) < 110
    assert text.endswith(" ...")
    assert [line.strip() for line in columns] == ["secret: s t", "gone: NULL", "empty:"]
    assert said.err == "1 hits of Job.description, by the index, 0.20 s\n"


def test_a_row_that_is_gone_has_neither_text_nor_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Only what RushDB says."""
    print_search(result(Hit(0.5, "12", PROPERTIES, None)))
    assert capsys.readouterr().out == "0.500  12  title=Nurse\n"


def test_an_explanation_stands_behind_the_hits(capsys: pytest.CaptureFixture[str]) -> None:
    """On stdout: it was asked for."""
    print_search(result(explanation=TOLD))
    assert capsys.readouterr().out.splitlines() == [
        "way        index (no filter)",
        "candidates 1,234 records with a vector in the index, 768 dimensions",
        "seconds    0.010 embedding, 1.5 loading the model, 0.200 asking RushDB, 0.030 reading PostgreSQL",
    ]


def test_a_call_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing around it, so that it can be piped into a file."""
    print_application_call(ApplicationCall("python", "import os\n"))
    assert tuple(capsys.readouterr()) == ("import os\n", "")
