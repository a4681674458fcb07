"""Commands that move rows, or look at what was moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from byov_migrate.cli.frame import Options, TableName, run_job, with_options

if TYPE_CHECKING:
    from byov_migrate.jobs.plan import PlanResult
    from byov_migrate.jobs.surroundings import Surroundings


@with_options
def plan(
    options: Options,
    exact: Annotated[bool, typer.Option("--exact", help="Count the tokens of every row, not of a sample.")] = False,
) -> None:
    """What would happen, how long it would take, what would leave. Writes nothing."""
    from byov_migrate.report import results
    from byov_migrate.report.planning import print_plan, refusal_of

    found: list[PlanResult] = []

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.plan import plan as carry_out

        found.append(carry_out(options.load(), exact=exact, surroundings=around))
        return found[0]

    try:
        run_job("plan", options, job, print_plan)
    except typer.Exit as end:
        if found and end.exit_code == found[0].exit_code != 0:
            results.complain(results.last_line("plan", refusal_of(found[0])))
        raise


@with_options
def backfill(
    options: Options,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Stop once this many rows are stored.")] = None,
    table: Annotated[list[str] | None, typer.Option("--table", help="Only this table. Repeatable.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="First write stored records as edited settings say.")] = False,
    confirm_deletes: Annotated[
        bool, typer.Option("--confirm-deletes", help="With changed settings: delete, however many rows they leave out.")
    ] = False,
) -> None:
    """Bring all rows into RushDB. Killed or stopped, run it again: it goes on."""
    from byov_migrate.report.results import print_backfill

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.backfill import backfill as carry_out

        return carry_out(
            options.load(),
            limit=limit,
            tables=table or (),
            apply=apply,
            confirm_deletes=confirm_deletes,
            surroundings=around,
        )

    run_job("backfill", options, job, print_backfill)


@with_options
def show(
    options: Options,
    key: Annotated[str, typer.Argument(help="The row's key.")],
    table: TableName = None,
) -> None:
    """One record: properties, vector, batch, reject, difference to PostgreSQL."""
    from byov_migrate.report.results import print_record

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.show import show as carry_out

        return carry_out(options.load(), key, table=table, surroundings=around)

    run_job("show", options, job, print_record)


@with_options
def status(
    options: Options,
    run: Annotated[str | None, typer.Option("--run", help="Events of the run whose id begins so.")] = None,
    max_age: Annotated[
        str | None, typer.Option("--max-age", help="End 75 when the last complete run is older than this: 15m.")
    ] = None,
    dangling: Annotated[bool, typer.Option("--dangling", help="The keys of links that lead to no record.")] = False,
) -> None:
    """Position, rejects, links and last runs, from the state alone."""
    from byov_migrate.report.results import print_status

    def job(around: Surroundings) -> Any:
        from byov_migrate.config_values import parse_duration
        from byov_migrate.jobs.status import status as read

        oldest = parse_duration(max_age) if max_age else None
        return read(options.load(), run=run, max_age_s=oldest, dangling=dangling, surroundings=around)

    run_job("status", options, job, print_status)
