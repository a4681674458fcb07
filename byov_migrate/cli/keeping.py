"""Commands about rejects and the state file."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byov_migrate.cli.frame import Options, TableName, run_job, with_options

if TYPE_CHECKING:
    from byov_migrate.jobs.surroundings import Surroundings


@with_options
def rejects_list(options: Options, table: TableName = None) -> None:
    """Every rejected row: stage, code, reason, and the setting that would help."""
    from byov_migrate.report.results import print_rejects

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.rejects import list_rejects

        return list_rejects(options.load(), table=table, surroundings=around)

    run_job("rejects list", options, job, print_rejects)


@with_options
def rejects_retry(options: Options, table: TableName = None) -> None:
    """Read the rejected rows again, and send those that are fit now."""
    from byov_migrate.report.results import print_retry

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.rejects import retry_rejects

        return retry_rejects(options.load(), table=table, surroundings=around)

    run_job("rejects retry", options, job, print_retry)


@with_options
def rejects_accept(
    options: Options,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with who and when.")],
    key: Annotated[str | None, typer.Argument(help="The row's key.")] = None,
    code: Annotated[str | None, typer.Option("--code", help="All rejects of this code.")] = None,
    table: TableName = None,
) -> None:
    """Accept a rejected row as it is: no difference any more."""
    from byov_migrate.report.results import print_accepted

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.rejects import accept_rejects

        chosen = {"key": key, "code": code, "table": table}
        return accept_rejects(options.load(), reason=reason, by=getpass.getuser(), surroundings=around, **chosen)

    run_job("rejects accept", options, job, print_accepted)


@with_options
def state_backup(
    options: Options,
    file: Annotated[Path, typer.Argument(help="A new file; it will hold the hash key too: keep it safe.")],
) -> None:
    """Copy the state and its hash key into one file, also while a run is at work."""
    from byov_migrate.report.results import print_backup

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.backup import backup_state

        return backup_state(options.load(), file, surroundings=around)

    run_job("state backup", options, job, print_backup)


@with_options
def state_restore(
    options: Options,
    file: Annotated[Path, typer.Argument(help="A file that `state backup` made.")],
) -> None:
    """Put a backup in place of a state that is gone. The old copy, should it turn up again, then only reads."""
    from byov_migrate.report.results import print_backup

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.backup import restore_state

        return restore_state(options.load(), file, surroundings=around)

    run_job("state restore", options, job, print_backup)
