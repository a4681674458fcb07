"""What is said of a state that is rebuilt; the documents show it as it is printed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from byov_migrate.jobs.adopt import AdoptResult, TableAdopted
from byov_migrate.report.adopting import print_adopted, print_found
from tests.documents import FENCE, read

DONE = TableAdopted(
    table="public.job",
    label="Job",
    owner="0f3c6a9e-7b1d-4a52-9d3e-5a1f0c8b7d64",
    owner_generation=1,
    records=200_412,
    others=118,
    doubled=2,
    differing=12,
    gone=3,
    missing=5,
    vectors={"description": 200_398},
    scores_adopted={"description": 200_398},
)


def test_the_lines_are_those_of_the_documents(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that is not as it should be, with what becomes of it."""
    print_adopted(AdoptResult("a", 2, (DONE,)))
    assert capsys.readouterr().out in [block.lstrip("\n") for _, block in FENCE.findall(read("docs/commands.md"))]


def test_what_is_not_there_is_not_spoken_of(capsys: pytest.CaptureFixture[str]) -> None:
    """One line when all is as it was."""
    none = {"description": 0}
    bare = replace(DONE, others=0, doubled=0, differing=0, gone=0, missing=0, scores_adopted=none)
    print_adopted(AdoptResult("a", 2, (bare,)))
    line = "Job: 200,412 records, 200,398 vectors adopted; 0 texts embedded\n"
    assert capsys.readouterr().out == f"{line}next: byov-migrate verify\n"


def test_the_question_is_asked_of_someone_who_knows_whose_the_label_is(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr: stdout is for the result."""
    print_found(DONE)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "the marker names state 0f3c6a9e, generation 1" in shown.err
    assert "12 differ from their rows" in shown.err
