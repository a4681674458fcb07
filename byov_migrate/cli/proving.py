"""The command that proves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byov_migrate.cli.frame import Options, run_job, with_options

if TYPE_CHECKING:
    from byov_migrate.config import Config
    from byov_migrate.jobs.surroundings import Surroundings
    from byov_migrate.jobs.verify import Verification

Skip = Annotated[
    list[str] | None, typer.Option("--skip", help="Leave out a part: rows, values, vectors, links or text. Repeatable.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Write the report there, with keys, as JSON (mode 0600).")]
Html = Annotated[Path | None, typer.Option("--html", help="Write the evidence there, as one page to read and print.")]
StopAfter = Annotated[int | None, typer.Option("--stop-after", min=1, help="End once so many differences are found.")]
Restart = Annotated[bool, typer.Option("--restart", help="Forget what a killed verify has read.")]

Candidate = Annotated[
    bool,
    typer.Option("--candidate", help="Then compare what the vectors that searches do not use find with the others."),
]
Queries = Annotated[
    Path | None, typer.Option("--queries", metavar="FILE", help="Compare a candidate by these queries too, one a line.")
]


@with_options
def verify(
    options: Options,
    skip: Skip = None,
    out: Out = None,
    html: Html = None,
    stop_after: StopAfter = None,
    restart: Restart = False,
    candidate: Candidate = False,
    queries: Queries = None,
) -> None:
    """Prove that the target equals the source; differences end 5."""
    from byov_migrate.report import results
    from byov_migrate.report.verifying import difference_of, print_verify

    found: list[Verification] = []

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs import verify as jobs

        config = options.load()
        _require_ready(html)
        asked: Any = {"stop_after": stop_after, "restart": restart, "candidate": candidate, "queries": queries}
        found.append(jobs.verify(config, skip=skip or (), surroundings=around, **asked))
        _write(found[0], out)
        _show(config, found[0], html, around)
        return found[0]

    try:
        run_job("verify", options, job, print_verify)
    except typer.Exit as end:
        if found and end.exit_code == found[0].exit_code != 0:
            results.complain(results.last_line("verify", difference_of(found[0])))
        raise


def _write(result: Verification, out: Path | None) -> None:
    if out is None:
        return
    from byov_migrate.jobs.verify import to_report
    from byov_migrate.report.verifying import write_report

    write_report(to_report(result), out)


def _require_ready(html: Path | None) -> None:
    """A verify may take hours: whether a page can be made is known before."""
    if html is not None:
        from byov_migrate.report.evidence import require_ready

        require_ready(html)


def _show(config: Config, result: Verification, html: Path | None, around: Surroundings) -> None:
    if html is None:
        return
    import logging

    from byov_migrate.jobs.evidence import gather
    from byov_migrate.report.evidence import render, write_page

    logging.getLogger("matplotlib").addHandler(logging.NullHandler())  # cron would mail that it looks for fonts
    write_page(render(gather(config, result, surroundings=around)), html)
