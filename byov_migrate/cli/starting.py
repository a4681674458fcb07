"""Commands for what comes before the first row: a configuration, and whether it will work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byov_migrate.cli.frame import Options, Quiet, Verbose, run_job

if TYPE_CHECKING:
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
    from byov_migrate.report.checking import print_init

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.init import init as propose

        return propose(dsn=dsn, tables=table or (), tls=tls, ca_file=ca_file, surroundings=around)

    run_job("init", Options(verbose=verbose, quiet=quiet), job, print_init)
