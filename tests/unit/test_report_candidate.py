"""What a person reads of a candidate: which model against which, by what, and how far its vectors are proved."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from byov_migrate.jobs.verify import Verification, reported_keys, to_report
from byov_migrate.jobs.verify.ranking import Agreement
from byov_migrate.jobs.verify.results import Compared
from byov_migrate.report.verifying import print_verify
from tests.evidences import made_verification

ROWS = Agreement(50, 0.612, 0.7249, 1.36, 0.985)
QUERIES = Agreement(1000, 0.5, 0.3, None, None)


def compared(label: str, **changed: Any) -> Compared:
    """By rows and queries."""
    models = ("description", "jobs-v1", "descriptionAlt", "jobs-v2")
    return replace(Compared("public.job", label, "description", *models, 200_398, ROWS, QUERIES), **changed)


def told(result: Verification, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines about candidates, which come last."""
    print_verify(result)
    return [line for line in capsys.readouterr().out.splitlines() if "against" in line]


def test_a_line_for_rows_and_one_for_queries(capsys: pytest.CaptureFixture[str]) -> None:
    """The proof of the vectors is told once; what is not known is left out."""
    result = made_verification()
    [table] = result.tables
    good = replace(result, tables=(replace(table, counts={**table.counts, "vectors": 0}),))
    numbers = "same top 1 in 61 %, overlap of top 10 7.2 of 10, what both find moves 1.4 places"
    numbers += ", the index finds 98 % of the ten nearest"
    assert told(replace(good, candidates=(compared(table.label),)), capsys) == [
        f"jobs-v2 against jobs-v1, 50 rows: {numbers}; all 200,398 vectors proved",
        "jobs-v2 against jobs-v1, 1,000 queries: same top 1 in 50 %, overlap of top 10 3.0 of 10",
    ]


def test_vectors_that_are_not_proved_are_not_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    """Because they were left out, or because some differ."""
    result = made_verification()
    [table] = result.tables
    one = (compared(table.label, queries=None),)
    [skipped] = told(replace(result, skipped=("vectors",), candidates=one), capsys)
    assert skipped.endswith("; 200,398 vectors not proved")
    bad = replace(table, counts={**table.counts, "vectors": 3})
    [differing] = told(replace(result, tables=(bad,), candidates=one), capsys)
    assert differing.endswith("; 200,398 vectors, differences above")


def test_models_of_one_name_are_told_apart_by_their_properties(capsys: pytest.CaptureFixture[str]) -> None:
    """A model that was replaced in its place, and nothing that could be asked."""
    result = made_verification()
    one = compared(result.tables[0].label, live_model="jobs-v2", rows=None, queries=None)
    [line] = told(replace(result, candidates=(one,)), capsys)
    expected = "jobs-v2 (descriptionAlt) against jobs-v2 (description), Job.description: nothing to ask with; "
    assert line.startswith(expected.replace("Job", result.tables[0].label))


def test_a_repair_reads_a_report_with_candidates() -> None:
    """A comparison is no difference."""
    result = made_verification()
    report = json.loads(json.dumps(to_report(replace(result, candidates=(compared("Job"),)))))
    assert reported_keys(report) == reported_keys(json.loads(json.dumps(to_report(result))))
    assert report["candidates"][0]["rows"] == {
        "asked": 50,
        "same_top_1": 0.612,
        "overlap_at_10": 0.7249,
        "rank_change": 1.36,
        "recall_at_10": 0.985,
    }
