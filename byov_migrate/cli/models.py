"""Commands about models and query vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byov_migrate.cli.frame import AsJson, EmbeddingName, Options, TableName, Verbose, run_job, with_options

if TYPE_CHECKING:
    from byov_migrate.jobs.surroundings import Surroundings


@with_options
def model_show(
    options: Options,
    name: Annotated[str | None, typer.Argument(help="A [models.NAME]; the only one by default.")] = None,
) -> None:
    """Dimension, window, prompts, fingerprint; what is refused and why."""
    from byov_migrate.report.results import print_model

    def job(_around: Surroundings) -> Any:
        from byov_migrate.jobs.models import describe_model

        return describe_model(options.load(), name)

    run_job("model show", options, job, print_model)


def model_convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A directory whose weights are pytorch_model.bin.")],
    destination: Annotated[Path, typer.Argument(metavar="DST", help="A new directory.")],
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Make a safetensors directory of an older one; what runs code is never loaded, and both give the same vectors."""
    from byov_migrate.report.results import print_conversion

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.models import convert_model

        return convert_model(source, destination, surroundings=around)

    run_job("model convert", Options(as_json=as_json, verbose=verbose), job, print_conversion)


@with_options
def embed(
    options: Options,
    text: Annotated[str, typer.Argument(help="A query; embedded on this machine.")],
    table: TableName = None,
    embedding: EmbeddingName = None,
) -> None:
    """The query vector of a text, as JSON."""
    from byov_migrate.report.results import print_json

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.models import QueryEncoder

        return QueryEncoder(options.load(), table=table, embedding=embedding, surroundings=around).encode(text)

    run_job("embed", options, job, print_json)
