"""What a check and a proposal look like at the terminal."""

from __future__ import annotations

import pytest

from byov_migrate.errors import ConfigurationError, CredentialsRefused, Unavailable
from byov_migrate.jobs.check import unreadable
from byov_migrate.jobs.check.findings import CheckResult, Finding, Speaker, result_of
from byov_migrate.report.checking import last_line_of, print_check

SOURCE, STATE = Speaker("source"), Speaker("state")
WELL, WARNED = SOURCE.ok("source", "PostgreSQL 18.6"), SOURCE.warn("source-role", "may change public.job", "REVOKE it")
REFUSED = SOURCE.fail("source", CredentialsRefused("refused the password", next_step="look at source.dsn"))
FULL = STATE.fail("state-disk", Unavailable("too small"), "state.url")


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([], 0),
        ([WELL, WARNED], 0),
        ([FULL], 75),
        ([FULL, SOURCE.fail("x", ConfigurationError("wrong"))], 2),
        ([REFUSED, SOURCE.fail("x", ConfigurationError("wrong")), FULL], 77),
    ],
)
def test_a_check_ends_with_the_worst_failures_code(findings: list[Finding], code: int) -> None:
    """What passes by itself is the least; warnings alone are none."""
    assert code == result_of(findings).exit_code


def test_each_finding_is_a_line_with_its_place_and_below_it_the_fix(capsys: pytest.CaptureFixture[str]) -> None:
    """Verdicts and subjects stand below one another."""
    print_check(result_of([WELL, WARNED, FULL]))
    assert capsys.readouterr().out.splitlines() == [
        "ok    source  PostgreSQL 18.6",
        "warn  source  may change public.job",
        "              -> REVOKE it",
        "fail  state   too small   [state.url]",
        "1 failure, 1 warning",
    ]


def test_the_last_line_has_the_code_the_worst_failure_and_its_fix() -> None:
    """For whoever sees nothing else."""
    line = last_line_of(result_of([FULL, REFUSED]))
    assert line == (
        "byov-migrate check: 77 source: refused the password (and 1 other failure); nothing was written;"
        " look at source.dsn"
    )


def test_a_wrong_configuration_is_a_finding_for_each_mistake() -> None:
    """As if the rest had been looked at."""
    error = ConfigurationError("2 mistakes\n  tables[0].label: is no identifier\n  tables[0].name: is required")
    result: CheckResult = unreadable(error)
    assert [(item.place, item.what) for item in result.findings] == [
        ("tables[0].label", "is no identifier"),
        ("tables[0].name", "is required"),
    ]
    assert (result.exit_code, result.failures) == (2, 2)
    [alone] = unreadable(ConfigurationError("cannot read jobs.toml: No such file")).findings
    assert alone.what == "cannot read jobs.toml: No such file"
