"""Commands for trying things out on this machine: the sandbox and the demo."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byov_migrate.cli.frame import AsJson, DemoFolder, LogFormatName, Options, Wheres, filters, run_job

if TYPE_CHECKING:
    from byov_migrate.jobs.surroundings import Surroundings


def sandbox(
    listen: Annotated[str, typer.Option("--listen", help="HOST:PORT; port 0 takes a free one.")] = "127.0.0.1:3999",
    data: Annotated[Path, typer.Option("--data", help="Folder for its files.")] = Path("byov-sandbox"),
) -> None:
    """A local stand-in for RushDB, for trying and testing, until interrupted. Key from BYOV_SANDBOX_API_KEY."""
    from byov_migrate.errors import ConfigurationError
    from byov_migrate.report import results

    def job(_around: Surroundings) -> None:
        from byov_migrate import sandbox as server

        key = os.environ.get("BYOV_SANDBOX_API_KEY", "")
        if not key:
            raise ConfigurationError("set BYOV_SANDBOX_API_KEY to the key that clients will use")
        try:
            server.serve(listen, data, key, results.complain)
        except (ValueError, OSError) as error:
            raise ConfigurationError(f"--listen {listen}: {error}") from error

    run_job("sandbox", Options(), job, lambda _result: None)


def demo(
    context: typer.Context,
    folder: DemoFolder = Path("demo"),
    postings: Annotated[int, typer.Option("--postings", min=1, help="How many to make up.")] = 2000,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over.")] = False,
    as_json: AsJson = False,
    log_format: LogFormatName = "text",
) -> None:
    """The whole job on this machine with nothing configured: a PostgreSQL, a sandbox, made-up postings, a model."""
    if context.invoked_subcommand is not None:
        return
    from byov_migrate.report.results import print_demo

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.demo.run import demo as carry_out

        return carry_out(folder, program=sys.argv[0], postings=postings, fresh=fresh, surroundings=around)

    run_job("demo", Options(as_json=as_json, log_format=log_format), job, print_demo)


def demo_search(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    where: Wheres = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many hits.")] = 5,
    folder: DemoFolder = Path("demo"),
    as_json: AsJson = False,
) -> None:
    """Search the demo's postings; its servers are started for it."""
    from byov_migrate.report.searching import print_search

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.demo.run import demo_servers
        from byov_migrate.jobs.search import search as carry_out

        with demo_servers(folder, around) as config:
            return carry_out(config, text, where=filters(where), limit=limit, surroundings=around)

    run_job("demo search", Options(as_json=as_json), job, print_search)


def demo_show(
    key: Annotated[str, typer.Argument(help="The posting's id.")],
    folder: DemoFolder = Path("demo"),
    as_json: AsJson = False,
) -> None:
    """Show one of the demo's records; its servers are started for it."""
    from byov_migrate.report.results import print_record

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.demo.run import demo_servers
        from byov_migrate.jobs.show import show as carry_out

        with demo_servers(folder, around) as config:
            return carry_out(config, key, surroundings=around)

    run_job("demo show", Options(as_json=as_json), job, print_record)
