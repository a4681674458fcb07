"""Commands that bring in a better model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byov_migrate.cli.frame import Options, TableName, run_job, with_options
from byov_migrate.cli.undoing import typed_line

if TYPE_CHECKING:
    from threading import Event

    from byov_migrate.jobs.reembed import Vectors
    from byov_migrate.jobs.surroundings import Surroundings

Embedding = Annotated[str | None, typer.Option("--embedding", help="One embedding, by its property.")]


@with_options
def reembed(
    options: Options,
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Option("--model", help="The new model's name. Default: what was edited in the configuration."),
    ] = None,
    table: TableName = None,
    embedding: Embedding = None,
) -> None:
    """Fill vectors of another model beside those that searches use, and keep both current. Killed, run it again."""
    if context.invoked_subcommand is not None:
        return
    from byov_migrate.report.reembedding import print_reembed

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.reembed import reembed as carry_out

        return carry_out(options.load(), model=model, table=table, embedding=embedding, surroundings=around)

    run_job("reembed", options, job, print_reembed)


@with_options
def reembed_switch(
    options: Options,
    back: Annotated[bool, typer.Option("--back", help="Use the older vectors again.")] = False,
    table: TableName = None,
    embedding: Embedding = None,
) -> None:
    """Let `search` and `QueryEncoder` use the new vectors, from now on. Nothing changes in RushDB."""
    from byov_migrate.report.reembedding import print_switch

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.reembed import switch

        return switch(options.load(), back=back, table=table, embedding=embedding, surroundings=around)

    run_job("reembed switch", options, job, print_switch)


@with_options
def reembed_drop(
    options: Options,
    yes: Annotated[
        list[str] | None,
        typer.Option("--yes", metavar="PROPERTY", help="Consent for this property, in scripts. Repeatable."),
    ] = None,
    table: TableName = None,
    embedding: Embedding = None,
) -> None:
    """Remove the vectors that searches do not use. The property is spare again; no record is written."""
    from byov_migrate.report.reembedding import print_drop

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.reembed import drop

        def ask(vectors: Vectors) -> str | None:
            return _typed_property(vectors, around.stop)

        chosen = {"table": table, "embedding": embedding}
        return drop(options.load(), agreed=yes or (), ask=ask, surroundings=around, **chosen)

    run_job("reembed drop", options, job, print_drop)


def _typed_property(vectors: Vectors, stop: Event) -> str | None:
    """What would go, and what a person types after having seen it; None without a terminal."""
    from byov_migrate.report.reembedding import print_question

    if not sys.stdin.isatty():
        return None
    print_question(vectors)
    return typed_line(stop)
