"""The search command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from byov_migrate.cli.frame import EmbeddingName, Options, TableName, Wheres, filters, run_job, with_options

if TYPE_CHECKING:
    from byov_migrate.jobs.surroundings import Surroundings


@with_options
def search(
    options: Options,
    text: Annotated[str | None, typer.Argument(help="What to look for; embedded on this machine.")] = None,
    like: Annotated[
        str | None, typer.Option("--like", metavar="KEY", help="Instead of TEXT: records like that of this row.")
    ] = None,
    where: Wheres = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many hits.")] = 10,
    skip: Annotated[int, typer.Option("--skip", min=0, help="How many of the best to leave out.")] = 0,
    exact: Annotated[bool, typer.Option("--exact", help="Compare every record instead of asking the index.")] = False,
    table: TableName = None,
    embedding: EmbeddingName = None,
    show: Annotated[
        str | None, typer.Option("--show", metavar="COLUMNS", help="Columns of PostgreSQL beside each hit: a,b,c.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Exact or index, candidates, seconds.")] = False,
    print_request: Annotated[
        str | None,
        typer.Option("--print-request", metavar="LANGUAGE", help="Only print the call: curl, python or javascript."),
    ] = None,
) -> None:
    """Search by meaning, local text beside each hit."""
    from byov_migrate.report.searching import print_application_call, print_search

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.search import print_call
        from byov_migrate.jobs.search import search as carry_out

        page = {"limit": limit, "skip": skip, "exact": exact}
        asked: Any = {"like": like, "where": filters(where), "table": table, "embedding": embedding, **page}
        if print_request is None:
            shown = _names(show)
            return carry_out(options.load(), text, show=shown, explain=explain, surroundings=around, **asked)
        _refuse_hits(show=show, explain=explain)
        language: Any = print_request
        return print_call(options.load(), language, text, surroundings=around, **asked)

    run_job("search", options, job, print_search if print_request is None else print_application_call)


def _names(columns: str | None) -> list[str]:
    return [name for part in (columns or "").split(",") if (name := part.strip())]


def _refuse_hits(*, show: str | None, explain: bool) -> None:
    """A request that is only printed has no hits to show or explain."""
    from byov_migrate.errors import ConfigurationError

    if show is not None or explain:
        raise ConfigurationError("--print-request sends nothing, so there are no hits for --show or --explain")
