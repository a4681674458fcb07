"""What the documents show of a sync at night: lines as they are printed, metrics and exit codes as they are."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from byov_migrate.errors import ConsentNeeded, MigrationError, Refused
from byov_migrate.jobs.metrics import Metrics, TableMetrics
from byov_migrate.jobs.reembed import ReembedResult, Switched, SwitchResult, TableReembed
from byov_migrate.jobs.removal import require_consent
from byov_migrate.jobs.rewriting import constraint_statement
from byov_migrate.jobs.sync import SyncResult, TableSync
from byov_migrate.jobs.sync_start import where_it_begins
from byov_migrate.jobs.verify import Verification
from byov_migrate.jobs.verify.ranking import Agreement
from byov_migrate.jobs.verify.results import Compared
from byov_migrate.report.metrics import render_metrics
from byov_migrate.report.reembedding import print_reembed, print_switch
from byov_migrate.report.results import last_line
from byov_migrate.report.syncing import print_sync
from byov_migrate.report.verifying import print_verify
from byov_migrate.source.cursor import Cursor
from byov_migrate.source.replica import reason_for_full_pass
from byov_migrate.source.strategy import _WINDOW_GUARANTEE
from byov_migrate.state import open_state
from byov_migrate.state.scope import compare
from scripts.config_schema import section_of
from tests.documents import FENCE, NAMES, ROOT, read
from tests.unit.test_docs_commands import SIGNALS, exit_codes

SWEPT = dt.datetime(2026, 1, 31, 2, 0, 5, tzinfo=dt.UTC).timestamp()
DONE = TableSync(
    table="public.job",
    label="Job",
    strategy="window",
    guarantee=_WINDOW_GUARANTEE,
    unchanged=7,
    created=12,
    updated=30,
    deleted=2,
    rejects=0,
    rejected_new=0,
    texts=12,
    texts_again=0,
    seconds=4.5,
    swept_at=SWEPT,
)
FILLED = TableReembed(
    table="public.job",
    label="Job",
    embedding="description",
    live="description",
    live_model="jobs-v1",
    not_synced=None,
    refused=0,
    live_vectors=200_398,
    carrier="descriptionAlt",
    model="jobs-v2",
    vectors=200_398,
    rejects=0,
    rejected_new=0,
    texts=200_398,
    tokens=84_000_000,
    synced=312,
    seconds=9_420,
)
OPERATIONS = "docs/operations.md"


def shown(line: str, name: str) -> bool:
    """Whether a line stands by itself in a block of code of a document."""
    return any(line in block.splitlines() for _, block in FENCE.findall(read(name)))


def test_the_line_of_a_sync_is_the_one_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """People write filters for their mail after it."""
    print_sync(SyncResult((DONE,)))
    assert shown(capsys.readouterr().out.rstrip("\n"), "docs/commands.md")


def too_many_deletes(_folder: Path) -> None:
    """5 % of 200,412 are 10,020."""
    require_consent(11_204, 200_412, 189_208, None)


def no_backfill(folder: Path) -> None:
    """A state in which nothing was ever planned."""
    state = open_state(folder / "jobs.state.db", lambda: 0.0, create=True)
    try:
        where_it_begins(state, "public.job")
    finally:
        state.close()


@pytest.mark.parametrize(("trouble", "kind"), [(too_many_deletes, ConsentNeeded), (no_backfill, Refused)])
def test_a_last_line_is_the_one_that_is_printed(tmp_path: Path, trouble: Any, kind: type[MigrationError]) -> None:
    """Who is woken by it searches the documents for it."""
    with pytest.raises(kind) as caught:
        trouble(tmp_path)
    assert shown(last_line("sync", caught.value), "docs/operations.md")


def test_the_reason_after_a_failover_is_the_one_that_is_given() -> None:
    """As above, for the part that says what happened."""
    before, after = (Cursor("", None, "0/0", timeline, in_recovery=False) for timeline in (1, 2))
    assert f"sync: 4 {reason_for_full_pass(before, after)};" in read("docs/operations.md")


def test_the_statement_for_the_operator_is_the_one_that_is_printed() -> None:
    """It is copied into a database."""
    assert shown(constraint_statement("Job"), "docs/operations.md")


def test_the_lines_of_a_re_embedding_are_those_that_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """What was filled beside what; then how an application goes over, which is copied from there."""
    print_reembed(ReembedResult((FILLED,)))
    *lines, following = capsys.readouterr().out.splitlines()
    assert any(block == "".join(f"{line}\n" for line in lines) for _, block in FENCE.findall(read(OPERATIONS)))
    assert following.startswith("next: byov-migrate verify --candidate")
    switched = ("descriptionAlt", "jobs-v2", "description", "jobs-v1")
    print_switch(SwitchResult((Switched("public.job", "Job", "description", *switched, is_newer=True),)))
    assert shown(capsys.readouterr().out.rstrip("\n"), OPERATIONS)


def test_the_lines_of_a_candidate_are_those_that_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """By rows and by queries, with the proof behind the first."""
    rows, queries = Agreement(50, 0.61, 0.72, 1.4, 0.98), Agreement(120, 0.54, 0.61, 1.9, 0.97)
    sets = ("description", "jobs-v1", "descriptionAlt", "jobs-v2", 200_398)
    compared = Compared("public.job", "Job", "description", *sets, rows, queries)
    print_verify(Verification("state", began=0, seconds=1, skipped=(), stopped=False, candidates=(compared,)))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(shown(line, OPERATIONS) for line in lines)


def test_the_refusal_of_an_edited_text_is_the_one_that_is_given() -> None:
    """The line that says what was edited, with the advice behind it."""
    field = "tables[public.job].embeddings[description].text"
    [difference] = compare({field: "{title} {description}"}, {field: "{description}"})
    assert difference.change == "re-embed"
    assert shown(f"  {difference}", OPERATIONS)


def metric_names() -> set[str]:
    """Every metric that is written, when all figures are known."""
    table = TableMetrics("public.job", "Job", 1.0, 1.0, 2, 0, dataclasses.asdict(DONE))
    return set(re.findall(r"(?m)^# TYPE (\w+)", render_metrics(Metrics((table,), 0))))


def test_every_metric_is_documented_and_no_other() -> None:
    """An alert on a metric that does not exist never fires."""
    rows = re.findall(r"(?m)^\| `(byov_migrate_\w+)` \|", read("docs/operations.md"))
    assert set(rows) == metric_names()


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_that_is_mentioned_is_written(name: str) -> None:
    """As above, in rules and sentences."""
    assert set(re.findall(r"\bbyov_migrate_(?:last|records|rejects|sync)\w*", read(name))) <= metric_names()


def yaml_blocks() -> Iterator[str]:
    """YAML that is shown in any document."""
    return (block for name in NAMES for kind, block in FENCE.findall(read(name)) if kind == "yaml")


def test_the_rules_of_alerts_are_rules() -> None:
    """They are copied as they stand."""
    yaml: Any = pytest.importorskip("yaml")
    [block] = yaml_blocks()
    rules = [rule for group in yaml.safe_load(block)["groups"] for rule in group["rules"]]
    assert all({"alert", "expr"} <= set(rule) for rule in rules)


def test_every_exit_code_has_its_row_for_each_scheduler() -> None:
    """A code that is forgotten here is one that nobody is told of."""
    section = read("docs/operations.md").partition("### What becomes of each exit code")[2].partition("\n### ")[0]
    cells = re.findall(r"(?m)^\| (`\d+`[^|]*) \|", section)
    codes = [int(code) for cell in cells for code in re.findall(r"`(\d+)`", cell)]
    assert sorted(codes) == sorted({0, *exit_codes(), *SIGNALS})


def test_a_code_that_sync_explains_is_one() -> None:
    """The second table of the section."""
    section = read("docs/commands.md").partition("## `byov-migrate sync`")[2].partition("\n## ")[0]
    assert {int(code) for code in re.findall(r"(?m)^\| `(\d+)` \|", section)} <= exit_codes()


def test_the_crontab_that_is_shown_is_the_ready_made_one() -> None:
    """Two that differ in when they are silent would be one too many; paths are left out of what is shown."""
    ready = re.sub(r' --metrics-file "\$METRICS"', "", (ROOT / "configs" / "crontab").read_text(encoding="utf-8"))
    lines = [line for line in section_of(read("docs/operations.md"), "From cron").splitlines() if " * * * *" in line]
    assert len(lines) == 2
    assert set(lines) <= set(ready.splitlines())
