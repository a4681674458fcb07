"""The report of a verify: what a repair reads, and what a person reads."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from byov_migrate.errors import ConfigurationError, PersonNeeded
from byov_migrate.jobs.verify.results import (
    TableVerification,
    Verification,
    compacted,
    property_counts,
    read_report,
    reported_keys,
    to_report,
)
from byov_migrate.report import results
from byov_migrate.report.verifying import difference_of, print_verify, write_report
from byov_migrate.state.comparison import KINDS, Difference


def verification(*differences: Difference, skipped: tuple[str, ...] = ()) -> Verification:
    """One table with these differences."""
    counts = {kind: sum(item.kind == kind for item in differences) for kind in KINDS}
    behind = {**dict.fromkeys(KINDS, 0), "values": 2}
    table = TableVerification("public.job", "Job", 10, 9, 8, counts, behind, differences, 0, {"pay": 1}, (), ())
    return Verification("state", 0.0, 1.0, skipped, stopped=False, tables=(table,))


def test_neighbouring_keys_become_one_range() -> None:
    """By their number in the source's order, whatever their text is."""
    assert list(compacted({"9": 1, "10": 2, "b": 5, "11": 3})) == [("9", "11", 3), ("b", "b", 1)]
    assert list(compacted({})) == []


def test_properties_are_counted_by_key() -> None:
    """Only names that a record may have."""
    differences = [
        Difference("values", "1", "pay, byovHash"),
        Difference("values", "2", "pay, rejected: nan"),
        Difference("text", "3", "unknown: pay"),
    ]
    assert property_counts(differences, {"pay", "byovHash"}) == {"pay": 2, "byovHash": 1}


def test_a_repair_reads_each_key_once() -> None:
    """However many kinds of differences it has."""
    result = verification(
        Difference("values", "1", "pay"), Difference("vectors", "1", "no"), Difference("extra", "2", "")
    )
    assert reported_keys(json.loads(json.dumps(to_report(result)))) == {"public.job": ["2", "1"]}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "tables": [{}]}', '{"format": 1}'])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str) -> None:
    """With a sentence, not a traceback."""
    path = tmp_path / "report.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError):
        reported_keys(read_report(path))
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_report(tmp_path / "none.json")


def test_a_report_file_is_for_its_owner_alone_even_over_an_older_one(tmp_path: Path) -> None:
    """An older file keeps neither its mode nor its content."""
    path = tmp_path / "report.json"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o644)
    write_report({"format": 1}, path)
    assert (stat.S_IMODE(path.stat().st_mode), path.read_text(encoding="utf-8")) == (0o600, '{\n "format": 1\n}')
    with pytest.raises(PersonNeeded, match="cannot write"):
        write_report({}, tmp_path / "none" / "report.json")


def test_the_last_line_names_every_kind_and_the_next_step() -> None:
    """Also those that are 0."""
    result = verification(Difference("missing", "1", ""), Difference("values", "2", "pay"))
    assert results.last_line("verify", difference_of(result)) == (
        "byov-migrate verify: 5 missing 1, extra 0, doubled 0, values 1, vectors 0, links 0, text 0;"
        " state consistent; byov-migrate sync --repair last"
    )


def test_people_read_what_was_skipped_what_differs_and_what_is_behind(capsys: pytest.CaptureFixture[str]) -> None:
    """Part by part."""
    print_verify(verification(Difference("missing", "1", ""), Difference("values", "2", "pay"), skipped=("text",)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Job: 10 rows, 9 records, 8 vectors"
    assert lines[1:4] == ["  rows     missing 1", "  values   values 1", "  vectors  ok"]
    assert lines[4:6] == ["  links    ok", "  text     skipped"]
    assert "  behind   values 2: the next sync takes care of them" in lines
    assert "  differs  pay in 1" in lines
    assert lines[-1] == "  values   2: pay"
