"""The command that rebuilds a lost state."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from byov_migrate.cli.frame import Options, run_job, with_options
from byov_migrate.cli.undoing import Yes, typed_line

if TYPE_CHECKING:
    from threading import Event

    from byov_migrate.jobs.adopt import TableAdopted
    from byov_migrate.jobs.surroundings import Surroundings


@with_options
def adopt(options: Options, yes: Yes = None) -> None:
    """Rebuild a lost state from RushDB and PostgreSQL, and take its labels over. Nothing is embedded."""
    from byov_migrate.report.adopting import print_adopted

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.adopt import adopt as rebuild

        def ask(found: TableAdopted) -> str | None:
            return _typed_label(found, around.stop)

        return rebuild(options.load(), agreed=yes or (), ask=ask, surroundings=around)

    run_job("adopt", options, job, print_adopted)


def _typed_label(found: TableAdopted, stop: Event) -> str | None:
    """What was found, and what a person types after having seen it; None without a terminal."""
    from byov_migrate.report.adopting import print_found, print_question

    print_found(found)
    if not sys.stdin.isatty():
        return None
    print_question(found.label)
    return typed_line(stop)
