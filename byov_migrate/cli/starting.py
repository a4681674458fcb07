"""Commands for what comes before the first row: a configuration, and whether it will work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byov_migrate.cli.frame import Options, Quiet, Verbose, run_job, with_options

if TYPE_CHECKING:
    from byov_migrate.jobs.check import CheckResult
    from byov_migrate.jobs.surroundings import Surroundings

Dsn = Annotated[
    str | None, typer.Option("--dsn", help="Address without a password. Default: DATABASE_URL, else PG* variables.")
]
Tables = Annotated[list[str] | None, typer.Option("--table", help="A table to propose. Repeatable.")]
Tls = Annotated[str, typer.Option("--tls", help="verify-full, verify-ca or insecure, as in [source].")]
CaFile = Annotated[Path | None, typer.Option("--ca-file", help="Certificates of the authorities to trust.")]


def init(
    dsn: Dsn = None,
    table: Tables = None,
    tls: Tls = "verify-full",
    ca_file: CaFile = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Print a configuration with comments, out of what the database holds. Writes nothing."""
    from functools import partial

    from byov_migrate.report.checking import print_init

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.init import init as propose

        return propose(dsn=dsn, tables=table or (), tls=tls, ca_file=ca_file, surroundings=around)

    run_job("init", Options(verbose=verbose, quiet=quiet), job, partial(print_init, is_quiet=quiet))


@with_options
def check(options: Options) -> None:
    """Both ends, models and state: whether a run will work, and each fix. Writes nothing."""
    from byov_migrate.report import results
    from byov_migrate.report.checking import last_line_of, print_check

    found: list[CheckResult] = []

    def job(around: Surroundings) -> Any:
        from byov_migrate.errors import ConfigurationError
        from byov_migrate.jobs import check as jobs

        try:
            config = options.load()
        except ConfigurationError as error:
            found.append(jobs.unreadable(error))
        else:
            found.append(jobs.check(config, surroundings=around))
        return found[0]

    try:
        run_job("check", options, job, print_check)
    except typer.Exit as end:
        if found and end.exit_code == found[0].exit_code != 0:
            results.complain(last_line_of(found[0]))
        raise
