"""`verify` and `sync --repair` as installed: exit codes, last lines, the report as a file."""

from __future__ import annotations

import json
import stat

import pytest

from tests.acceptance.migration import VECTOR_TABLE_WITH_TEXT, Migration, kill_after, make_vector_table

ROWS = 60


@pytest.fixture
def moved(migration: Migration) -> Migration:
    """60 items, moved."""
    make_vector_table(migration.dsn, ROWS, 16)
    migration.write(VECTOR_TABLE_WITH_TEXT)
    assert migration.run("backfill", "-q").returncode == 0
    return migration


def lose(migration: Migration, key: str) -> None:
    """A record is gone without a trace."""
    where = {"byovKey": key}
    migration.target.post("/records/delete", {"labels": [migration.label], "where": where})


def test_a_good_target_ends_0_and_says_what_was_compared(moved: Migration) -> None:
    """Part by part."""
    done = moved.run("verify")
    assert (done.returncode, done.stderr.count("verify")) == (0, 0), done
    assert f"{moved.label}: {ROWS} rows, {ROWS} records" in done.stdout
    for part in ("rows", "values", "vectors", "text"):
        assert f"  {part:<9}ok" in done.stdout


def test_differences_end_5_with_the_next_step_and_a_repair_mends_them(moved: Migration) -> None:
    """The last line is the command that resolves it, by the last report or by a file."""
    for how in ("last", "report.json"):
        lose(moved, "1")
        lose(moved, "4")
        done = moved.run("verify", "--out", "report.json")
        assert done.returncode == 5
        last = done.stderr.splitlines()[-1]
        expected = "missing 2, extra 0, doubled 0, values 0, vectors 0, links 0, text 0; state consistent"
        assert last == f"byov-migrate verify: 5 {expected}; byov-migrate sync --repair last"
        path = moved.folder / "report.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        [table] = json.loads(path.read_text(encoding="utf-8"))["tables"]
        assert (sorted(table["keys"]["missing"]), table["missing_ranges"]) == (["1", "4"], [["1", "4", 2]])
        mended = moved.run("sync", "--repair", how)
        assert mended.returncode == 0, mended
        assert "2 made, 0 rewritten, 0 deleted" in mended.stdout
        assert moved.run("verify").returncode == 0


def test_as_json_the_result_is_one_document_and_the_last_line_stays(moved: Migration) -> None:
    """A program reads stdout, a person stderr."""
    lose(moved, "1")
    done = moved.run("verify", "--json", "--skip", "values", "--skip", "text")
    result = json.loads(done.stdout)
    assert (done.returncode, result["skipped"], result["tables"][0]["counts"]["missing"]) == (5, ["values", "text"], 1)
    assert done.stderr.splitlines()[-1].startswith("byov-migrate verify: 5 missing 1")


def test_a_repair_goes_with_nothing_that_would_widen_it(moved: Migration) -> None:
    """It is for the keys of the report."""
    for other in (["--full"], ["--dry-run"], ["--table", "item"], ["--key", "1"], ["--accept", "index"]):
        done = moved.run("sync", "--repair", "last", *other)
        assert (done.returncode, "do not go together" in done.stderr) == (2, True), done


def test_a_verify_that_was_killed_anywhere_goes_on(moved: Migration) -> None:
    """Whatever had been read, the answer is the same."""
    lose(moved, "1")
    for wait_s in (0.3, 0.6, 0.9, 1.2):
        kill_after(moved.start("verify"), wait_s)
    done = moved.run("verify")
    assert (done.returncode, "missing 1, extra 0" in done.stderr) == (5, True)
    assert not list(moved.folder.glob("*.verify*"))
