"""What is said of a migration that is taken back; the documents show it as it is printed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from byov_migrate.errors import ConsentNeeded
from byov_migrate.jobs.undo import Extent, KeptIndex, TableUndone, UndoResult, require_consent
from byov_migrate.report.results import last_line
from byov_migrate.report.undoing import print_extent, print_undo
from tests.documents import FENCE, read

DONE = TableUndone(
    table="public.job",
    label="Job",
    ours=0,
    others=118,
    strange=12,
    deleted=200_412,
    indexes_deleted=("description",),
    indexes_kept=(KeptIndex("summary", 118),),
    seconds=212.5,
)
EXTENT = Extent("public.job", "Job", known=200_412, unsettled=0, others=118, strange=0, marker=True)


def test_the_lines_are_those_of_the_documents(capsys: pytest.CaptureFixture[str]) -> None:
    """Counts of the target, and everything that stays with its reason."""
    print_undo(UndoResult((DONE,)))
    printed = capsys.readouterr().out
    assert printed in [block.lstrip("\n") for _, block in FENCE.findall(read("docs/commands.md"))]


def test_what_is_not_there_is_not_spoken_of(capsys: pytest.CaptureFixture[str]) -> None:
    """One line when nothing stays but what belongs to others."""
    bare = replace(DONE, strange=0, deleted=0, indexes_deleted=(), indexes_kept=())
    print_undo(UndoResult((bare,)))
    assert capsys.readouterr().out == "Job: 0 ours, 118 others untouched; 0 deleted\n"


def test_several_indexes_on_a_property_are_said_to_stay(capsys: pytest.CaptureFixture[str]) -> None:
    """With the reason."""
    print_undo(UndoResult((replace(DONE, indexes_kept=(KeptIndex("description", 0, several=True),)),)))
    assert "the indexes on description stay: there are several" in capsys.readouterr().out


def test_the_counts_before_the_question_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Ours, others, batches that are not settled, records that look like ours."""
    print_extent(replace(EXTENT, unsettled=3, strange=12))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "Job (public.job): 200,412 records of this state, with their vectors, indexes and marker, would be removed",
        "  118 records without byovKey are somebody else's and stay",
        "  3 batches of an earlier run are looked for and removed as well",
        "  12 records carry byovKey but are not in this state; they stay",
    ]


def test_the_last_line_without_consent_is_that_of_the_documents() -> None:
    """It ends with the command that means it."""
    with pytest.raises(ConsentNeeded) as asked:
        require_consent([EXTENT], [], lambda _extent: None, ["public.job"])
    line = last_line("remove", asked.value)
    assert any(line in block.splitlines() for _, block in FENCE.findall(read("docs/operations.md")))


@pytest.mark.parametrize("nothing", [replace(EXTENT, known=0, marker=False)])
def test_nobody_is_asked_when_there_is_nothing_to_remove(nothing: Extent) -> None:
    """A second `remove` in a script ends 0."""
    require_consent([nothing], [], lambda _extent: None, [])


@pytest.mark.parametrize(
    "something",
    [
        replace(EXTENT, known=0, unsettled=1, marker=False),
        replace(EXTENT, known=0),
        replace(EXTENT, marker=False),
    ],
)
def test_anything_of_ours_needs_consent(something: Extent) -> None:
    """Records, batches that may have arrived, or the marker alone, which stands for indexes."""
    with pytest.raises(ConsentNeeded):
        require_consent([something], [], lambda _extent: None, [])
