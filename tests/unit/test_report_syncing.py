"""What a sync prints, and the metrics it leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from byov_migrate.jobs.dry_run import SyncForecast, TableForecast
from byov_migrate.jobs.linking import LinkResult
from byov_migrate.jobs.metrics import Metrics, TableMetrics
from byov_migrate.jobs.sync import SyncResult, TableSync
from byov_migrate.report.metrics import render_metrics
from byov_migrate.report.syncing import print_forecast, print_sync

NOTHING = TableSync("public.job", "Job", "window", "complete: every change", 5, 0, 0, 0, 2, 0, 0, 0, 0.5, 0.0)
LINK = LinkResult("Job.POSTED_BY", "POSTED_BY", "Job", "Company", 9, 4, 0, 0, 1, 0.1)
FIGURES = {"created": 1, "updated": 2, "deleted": 3, "rejected_new": 0, "seconds": 1.5, "strategy": "window"}


def test_nothing_that_happened_is_nothing_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Cron would turn a line into a mail; old rejects are no news either."""
    print_sync(SyncResult((NOTHING, NOTHING)))
    assert capsys.readouterr().out == ""
    assert SyncResult((NOTHING,)).exit_code == 0


@pytest.mark.parametrize(
    "happened",
    [
        replace(NOTHING, created=1200),
        replace(NOTHING, updated=1200),
        replace(NOTHING, deleted=1200),
        replace(NOTHING, rejected_new=1200),
    ],
)
def test_whatever_happened_is_one_line(happened: TableSync, capsys: pytest.CaptureFixture[str]) -> None:
    """With the guarantee, and when deletes were last looked for."""
    print_sync(SyncResult((happened, NOTHING)))
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "1,200" in out
    assert "deletes last looked for 1970-01-01 00:00:00Z; complete: every change" in out


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (replace(LINK, made=1200), "0 deleted; links: 1,200 POSTED_BY made; deletes last"),
        (replace(LINK, removed=1200), "0 deleted; links: 1,200 POSTED_BY removed; deletes last"),
        (replace(LINK, made=7, removed=1200), "links: 7 POSTED_BY made, 1,200 POSTED_BY removed;"),
    ],
)
def test_links_alone_are_something_that_happened(
    link: LinkResult, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pair that came in a join table changes no row of either table; it is told with the table it leads from."""
    company = replace(NOTHING, table="public.company", label="Company")
    print_sync(SyncResult((NOTHING, company), (link, LINK)))
    out = capsys.readouterr().out
    assert out.startswith("Job: 0 new")
    assert out.count("\n") == 1
    assert said in out


def test_links_of_a_table_that_was_not_synced_have_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With --table Company, a new company is what many old postings were waiting for."""
    company = replace(NOTHING, table="public.company", label="Company", created=1)
    print_sync(SyncResult((company,), (replace(LINK, made=12),)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Company: 1 new, 0 changed, 0 deleted; deletes last")
    assert lines[1:] == ["Job: links: 12 POSTED_BY made"]


def test_links_that_stand_and_links_that_lead_nowhere_are_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    """As old rejects: each night's mail would say the same."""
    print_sync(SyncResult((NOTHING,), (LINK,)))
    assert capsys.readouterr().out == ""


def test_a_sync_ends_3_for_new_rejects_alone() -> None:
    """Each morning's run must not complain of last week's."""
    assert SyncResult((NOTHING, replace(NOTHING, rejected_new=1))).exit_code == 3


@pytest.mark.parametrize("links", [0, 2])
def test_a_forecast_is_printed_also_when_there_is_nothing_to_do(capsys: pytest.CaptureFixture[str], links: int) -> None:
    """A person asked; what it does not speak of is said, where there is any."""
    forecast = TableForecast("public.job", "Job", "complete", sweep=False, unchanged=1, to_create=2, to_update=3,
                             to_delete=4, rejected=5)  # fmt: skip
    print_forecast(SyncForecast((forecast,), links))
    out = capsys.readouterr().out
    assert "Job: 2 to make, 3 to change, 4 known to delete (no sweep), 5 would be rejected" in out
    assert "nothing was written" in out
    assert ("links: not looked at" in out) == bool(links)


def test_metrics_are_told_by_table_and_labels_are_escaped() -> None:
    """A guarantee may quote names; a quote or a line break would break the whole file."""
    last = {**FIGURES, "guarantee": 'complete if "at"\nis set'}
    text = render_metrics(Metrics((TableMetrics('a"b', "Job", 12.5, None, 7, 1, last),), 3))
    assert 'byov_migrate_last_complete_sync_timestamp_seconds{table="a\\"b"} 12.5\n' in text
    assert 'byov_migrate_sync_updated_rows{table="a\\"b"} 2\n' in text
    assert 'guarantee="complete if \\"at\\"\\nis set"} 1\n' in text
    assert "byov_migrate_last_sync_exit_code 3\n" in text
    assert "last_sweep" not in text  # nobody has looked yet
    for line in text.splitlines():
        assert line.startswith(("# HELP byov_migrate_", "# TYPE byov_migrate_", "byov_migrate_"))


def test_before_the_first_sync_there_are_the_records_and_no_invented_zero() -> None:
    """A missing figure alerts, a zero hides."""
    text = render_metrics(Metrics((TableMetrics("job", "Job", None, None, 7, 0, {}),), None))
    assert 'byov_migrate_records{table="job"} 7\n' in text
    assert "sync" not in text
