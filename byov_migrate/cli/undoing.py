"""The command that takes a migration back."""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byov_migrate.cli.frame import Options, run_job, with_options

if TYPE_CHECKING:
    from threading import Event

    from byov_migrate.jobs.surroundings import Surroundings
    from byov_migrate.jobs.undo import Extent

LOOK_EVERY_S = 0.1

Tables = Annotated[list[str] | None, typer.Option("--table", help="Only this table. Repeatable.")]
Yes = Annotated[
    list[str] | None, typer.Option("--yes", metavar="LABEL", help="Consent for this label, in scripts. Repeatable.")
]


@with_options
def remove(options: Options, table: Tables = None, yes: Yes = None) -> None:
    """Take a migration back: its records, indexes and marker. Killed or stopped, run it again: it goes on."""
    from byov_migrate.report.undoing import print_undo

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.undo import undo

        def ask(extent: Extent) -> str | None:
            return _typed_label(extent, around.stop)

        return undo(options.load(), tables=table or (), agreed=yes or (), ask=ask, surroundings=around)

    run_job("remove", options, job, print_undo)


def _typed_label(extent: Extent, stop: Event) -> str | None:
    """The counts, and what a person types after having seen them; None without a terminal."""
    from byov_migrate.report.undoing import print_extent, print_question

    print_extent(extent)
    if not sys.stdin.isatty():
        return None
    print_question(extent.label)
    return typed_line(stop)


def typed_line(stop: Event) -> str | None:
    """A line from the terminal, None at its end. A signal ends the wait, which `input` would sleep through."""
    from byov_migrate.errors import Interrupted

    while not select.select([sys.stdin], [], [], LOOK_EVERY_S)[0]:
        if stop.is_set():
            raise Interrupted
    return sys.stdin.readline().strip() or None
