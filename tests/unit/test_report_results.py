"""The last line of a run that did not end 0, and results as text and JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byov_migrate.errors import (
    Ambiguous,
    Busy,
    ConfigurationError,
    ConsentNeeded,
    CredentialsRefused,
    DifferencesFound,
    Interrupted,
    MigrationError,
    Overloaded,
    PersonNeeded,
    Refused,
    RowRefused,
    TooLarge,
    Unavailable,
)
from byov_migrate.jobs.backfill import BackfillResult, TableResult
from byov_migrate.jobs.demo.run import DemoResult, DemoSearch
from byov_migrate.jobs.linking import LinkResult
from byov_migrate.jobs.pipeline import Totals
from byov_migrate.jobs.search import SearchResult
from byov_migrate.jobs.status import LinkStatus, Status, TableStatus
from byov_migrate.jobs.verify import TableVerification, Verification
from byov_migrate.report import results
from byov_migrate.report.live import clock_text, size_text

PASSES = "state consistent; nothing to do, the next run continues"


@pytest.mark.parametrize(
    ("error", "code", "passes"),
    [
        (MigrationError("x"), 1, False),
        (ConfigurationError("x"), 2, False),
        (RowRefused("x"), 3, False),
        (Refused("x"), 4, False),
        (DifferencesFound("x"), 5, False),
        (ConsentNeeded("x"), 6, False),
        (PersonNeeded("x"), 69, False),
        (Unavailable("x"), 75, True),
        (Overloaded("x", wait_s=1.0), 75, True),
        (TooLarge("x"), 75, True),
        (Ambiguous("x"), 75, True),
        (Busy("x"), 75, True),
        (CredentialsRefused("x"), 77, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_last_line_has_command_code_cause_and_what_to_do(error: MigrationError, code: int, *, passes: bool) -> None:
    """Whoever is woken reads this line first, and perhaps only this one."""
    line = results.last_line("sync", error)
    assert line == f"byov-migrate sync: {code} x" + (f"; {PASSES}" if passes else "")


def test_the_last_line_ends_with_the_next_step() -> None:
    """A command to copy."""
    line = results.last_line("plan", Refused("the settings changed", next_step="byov-migrate backfill --apply"))
    assert line == "byov-migrate plan: 4 the settings changed; byov-migrate backfill --apply"


@pytest.mark.parametrize(("number", "code"), [(2, 130), (15, 143), (1, 129)])
def test_an_interrupted_run_says_that_the_state_is_consistent(number: int, code: int) -> None:
    """And which signal it was."""
    line = results.last_line("backfill", Interrupted(number))
    assert line.startswith(f"byov-migrate backfill: {code} ")
    assert "state is consistent" in line


def test_a_bug_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """By the error's kind, without its values: a report is sent to strangers."""
    results.complain(results.bug_line("show", KeyError("canary-5f0c")))
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "byov-migrate show: 1 a bug (KeyError); please report it with the lines above"


@dataclass(frozen=True)
class Nested:
    """A result with everything that results are made of."""

    path: Path
    vector: Any
    items: tuple[Any, ...]
    mapping: dict[Any, Any]


def test_every_result_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """For programs: one document, characters as they are."""
    nested = Nested(Path("a/b"), np.asarray([0.5, 1], dtype=np.float32), (1, None, "ü"), {1: (True,)})
    results.print_json({"outer": nested, "number": np.float32(0.5)})
    out = capsys.readouterr().out
    assert "ü" in out
    assert json.loads(out) == {
        "outer": {"path": "a/b", "vector": [0.5, 1.0], "items": [1, None, "ü"], "mapping": {"1": [True]}},
        "number": 0.5,
    }


def table_result(**changes: Any) -> TableResult:
    """A backfill of 1,000 rows."""
    plain: dict[str, Any] = {
        "table": "public.job",
        "label": "Job",
        "rows_planned": 1000,
        "rows_stored": 998,
        "vectors_stored": 990,
        "rejects": 2,
        "this_run": Totals(rows=500, vectors=495, no_text=8, texts=500, truncated=3, rejected=2, rejected_new=1),
        "seconds": 100.0,
        "bytes_out": 2_500_000,
        "requests": 12,
        "busy": {"read": 0.1, "embed": 0.97},
        "properties_sent": ("title", "byovKey"),
        "columns_kept": ("body",),
        "complete": True,
    }
    return TableResult(**{**plain, **changes})


def test_a_backfill_says_what_is_stored_what_left_and_what_stayed(capsys: pytest.CaptureFixture[str]) -> None:
    """The compliance officer reads `left` and `stayed`."""
    results.print_backfill(BackfillResult((table_result(),)))
    out = capsys.readouterr().out
    for part in (
        "998 records",
        "990 vectors",
        "1,000 rows planned",
        "title, byovKey; vectors",
        "stayed   body",
        "1:40",
    ):
        assert part in out
    for part in (
        "8 without text",
        "3 of 500 texts truncated",
        "2 rejected",
        "out      2.5 MB, 5.0 texts/s",
        "embed 97% busy, read 10% busy",
    ):
        assert part in out
    assert "to continue" not in out


def test_a_limited_backfill_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    """It is not done, and ended 0."""
    results.print_backfill(BackfillResult((table_result(complete=False),)))
    assert "to continue: byov-migrate backfill" in capsys.readouterr().out


def link_result(**changes: Any) -> LinkResult:
    """A link from the rows of `table_result`."""
    plain: dict[str, Any] = {"name": "Job.POSTED_BY", "type": "POSTED_BY", "source": "Job", "target": "Company"}
    plain |= {"stored": 2000, "dangling": 0, "made": 1200, "removed": 0, "requests": 3, "seconds": 0.5}
    return LinkResult(**{**plain, **changes})


def printed(result: BackfillResult, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of a backfill."""
    results.print_backfill(result)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "  links    2,000 POSTED_BY to Company (1,200 in this run)"),
        ({"dangling": 1}, "  links    2,000 POSTED_BY to Company (1,200 in this run), 1 leads to no record"),
        ({"dangling": 3}, "  links    2,000 POSTED_BY to Company (1,200 in this run), 3 lead to no record"),
        ({"removed": 5}, "  links    2,000 POSTED_BY to Company (1,200 in this run), 5 removed"),
    ],
)
def test_a_backfill_has_a_line_for_each_link(
    changes: dict[str, Any], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the block of the table that it leads from; a link that leads nowhere is not passed over."""
    others = (table_result(label="Company"), link_result(source="Company", type="OWNED_BY"))
    lines = printed(BackfillResult((table_result(), others[0]), (link_result(**changes), others[1])), capsys)
    company = next(number for number, text in enumerate(lines) if text.startswith("Company: "))
    assert line in lines[:company]
    assert [text for text in lines[company:] if text.startswith("  links ")] == [
        "  links    2,000 OWNED_BY to Company (1,200 in this run)"
    ]


def test_links_of_a_table_that_was_not_asked_for_are_told_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    """With --table Company the postings that were waiting for a company are linked."""
    lines = printed(BackfillResult((table_result(label="Company"),), (link_result(),)), capsys)
    assert lines[-2:] == ["Job", "  links    2,000 POSTED_BY to Company (1,200 in this run)"]


def demo_result(missing: int = 0) -> DemoResult:
    """Two tables, two links, a proof with as many differences and one search without a hit."""
    company = table_result(label="Company", rows_stored=120, vectors_stored=0, this_run=Totals(), columns_kept=())
    links = (link_result(), link_result(type="IN_DEPARTMENT", target="Department", stored=1990))
    proof = TableVerification(
        "public.job", "Job", 998, 998, 990, {"missing": missing}, {}, (), 0, {}, (), (), links=3990
    )
    found = SearchResult("Job", "description", (), exact=True, seconds=0.1)
    return DemoResult(
        BackfillResult((table_result(), company), links),
        Verification("state", 0.0, 1.0, (), stopped=False, tables=(proof,)),
        (DemoSearch("golang payments", "Company.employees >= 200", found),),
        ("byov-migrate demo show 17",),
    )


def test_vectors_of_several_embeddings_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """One that lags behind must not hide in the sum of both; of one embedding the sum says it all."""
    results.print_backfill(BackfillResult((table_result(vectors={"body": 990}),)))
    results.print_backfill(BackfillResult((table_result(vectors_stored=1988, vectors={"head": 998, "body": 990}),)))
    one, two = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Job: ")]
    assert "998 records and 990 vectors stored (500 in this run)" in one
    assert "998 records and 1,988 vectors stored: head 998, body 990 (500 in this run)" in two


def test_a_demo_says_on_one_screen_what_was_moved_linked_proved_and_found(capsys: pytest.CaptureFixture[str]) -> None:
    """What left and what stayed stands there too."""
    results.print_demo(demo_result())
    lines = capsys.readouterr().out.splitlines()
    for line in (
        "  records  998 Job  120 Company",
        "  links    2,000 POSTED_BY  1,990 IN_DEPARTMENT",
        "  vectors  990, 8 records without text, 3 of 500 texts truncated",
        "  left     Job: title, byovKey",
        "  stayed   Job body",
        'Searching "golang payments" where Company.employees >= 200',
        "  byov-migrate demo show 17",
    ):
        assert line in lines
    assert any(line.startswith("Verified: 998 rows, 990 vectors, 3,990 links; nothing is missing") for line in lines)


def test_a_demo_whose_proof_finds_differences_says_so_and_ends_5(capsys: pytest.CaptureFixture[str]) -> None:
    """A demo that shows a proof must not pass over what it found."""
    results.print_demo(demo_result(missing=2))
    assert "Verified, and it differs: missing 2," in capsys.readouterr().out
    assert demo_result(missing=2).exit_code == 5
    assert demo_result().exit_code == 3  # the backfill's: a row was rejected


@pytest.mark.parametrize(("new", "code"), [(0, 0), (1, 3)])
def test_a_backfill_ends_3_for_rows_that_were_not_rejected_before(new: int, code: int) -> None:
    """Each morning's run must not complain of last week's rejects again."""
    assert BackfillResult((table_result(), table_result(this_run=Totals(rejected_new=new)))).exit_code == 3
    assert BackfillResult((table_result(this_run=Totals(rejected=5, rejected_new=new)),)).exit_code == code


def test_a_status_shows_positions_and_runs_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    """A table that was not started is shown as such, a killed run too."""
    tables = (
        TableStatus("public.job", "Job", 1000, 998, 3, 2, 2, 1, 3600.0, 0.0),
        TableStatus("public.other", "Other", None, 0, 0, 0, 0, 0, None, None),
    )
    run = {"id": "0123456789abcdef", "started_at": 0.0, "command": "backfill", "exit_code": None}
    event = {"at": 60.0, "action": "planned", "fields": {"rows": 5}}
    links = (LinkStatus("Job.AT", 1998, 2, 1, (("7", "42"),)), LinkStatus("Job.UNDER", 0, 0, 0, ()))
    results.print_status(Status("state", tables, links, (run, {**run, "exit_code": 3}), (event,), 5.0))
    out = capsys.readouterr().out
    assert "Job: 998 of 1,000 rows stored, 2 of 3 ranges, 2 rejected, 1 batches unsettled" in out
    assert "synced 1970-01-01 01:00:00Z, deletes last looked for 1970-01-01 00:00:00Z" in out
    assert "Other: not started" in out
    assert "Job.AT: 1,998 links stand, 2 to be made, 1 lead to no record\n  7 to 42, which is no record\n" in out
    assert "Job.UNDER: 0 links stand\n" in out
    assert "run 01234567  1970-01-01 00:00:00Z  backfill   at work or killed" in out
    assert "ended 3" in out
    assert '1970-01-01 00:01:00Z  planned  {"rows": 5}' in out


APPLY = "an apply is under way, byov-migrate backfill goes on with it"
REFILL = "vectors of body, head are being made again, the next backfill or sync goes on with it"


@pytest.mark.parametrize(
    ("applying", "refilling", "text"),
    [
        (True, (), APPLY),
        (False, ("body", "head"), REFILL),
        (True, ("body", "head"), f"{APPLY}, {REFILL}"),
    ],
)
def test_a_status_names_what_the_next_run_goes_on_with(
    applying: bool,  # noqa: FBT001
    refilling: tuple[str, ...],
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Settings that are being applied, and an index that is being filled, are two things."""
    unfinished: dict[str, Any] = {"applying": applying, "refilling": refilling}
    table = TableStatus("public.job", "Job", 1000, 998, 3, 2, 0, 0, None, None, **unfinished)
    results.print_status(Status("state", (table,), (), (), (), None))
    assert f"2 of 3 ranges, {text}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (750, "12:30"), (3599.6, "1 h 0 min"), (10_300, "2 h 51 min")],
)
def test_spans_of_time(seconds: float, text: str) -> None:
    """Rounded once: no `0:60`."""
    assert clock_text(seconds) == text


SIZES = [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (2_500_000, "2.5 MB"), (3e12, "3000.0 GB")]


@pytest.mark.parametrize(("count", "text"), SIZES)
def test_sizes(count: float, text: str) -> None:
    """In thousands, as networks count."""
    assert size_text(count) == text
