"""The command for cron."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from byov_migrate.cli.frame import Options, run_job, with_options

if TYPE_CHECKING:
    from byov_migrate.config import Config
    from byov_migrate.jobs.surroundings import Surroundings

Full = Annotated[bool, typer.Option("--full", help="Read and compare every row, and look for deletes.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing anywhere.")]
Keys = Annotated[list[str] | None, typer.Option("--key", help="Only the row with this key. Repeatable.")]
Tables = Annotated[list[str] | None, typer.Option("--table", help="Only this table. Repeatable.")]
Watch = Annotated[
    float | None, typer.Option("--watch", min=0.1, metavar="SECONDS", help="Sync again and again; models stay loaded.")
]
ConfirmDeletes = Annotated[bool, typer.Option("--confirm-deletes", help="Delete, however many rows are gone.")]
Accept = Annotated[
    str | None,
    typer.Option("--accept", help='With --full: "source" or "target" was moved, an "index" deleted.'),
]
Repair = Annotated[
    str | None, typer.Option("--repair", metavar="REPORT", help="Mend what verify found: last, or the file it wrote.")
]
MetricsFile = Annotated[
    Path | None, typer.Option("--metrics-file", help="Write figures there for Prometheus's textfile collector.")
]

_EXCLUSIVE = (
    *combinations(("--dry-run", "--key", "--watch", "--repair"), 2),
    ("--repair", "--full"),
    ("--repair", "--table"),
    ("--repair", "--accept"),
    ("--key", "--full"),
    ("--key", "--confirm-deletes"),
    ("--key", "--accept"),
    ("--dry-run", "--accept"),
)


@with_options
def sync(
    options: Options,
    full: Full = False,
    dry_run: DryRun = False,
    key: Keys = None,
    table: Tables = None,
    watch: Watch = None,
    confirm_deletes: ConfirmDeletes = False,
    accept: Accept = None,
    repair: Repair = None,
    metrics_file: MetricsFile = None,
) -> None:
    """Bring what changed and what was deleted since the last sync. For cron: silent when nothing happened."""
    from byov_migrate.report.syncing import print_forecast, print_sync
    from byov_migrate.report.verifying import print_repair

    tables = tuple(table or ())
    given = _given(
        full=full,
        dry_run=dry_run,
        key=key,
        table=table,
        watch=watch,
        confirm_deletes=confirm_deletes,
        accept=accept,
        repair=repair,
    )

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs import dry_run as dry
        from byov_migrate.jobs import sync as jobs

        _require_compatible(given)
        config, asked = options.load(), Asked(full, confirm_deletes, accept)
        if dry_run:
            return dry.forecast_sync(config, full=full, tables=tables, surroundings=around)
        try:
            if repair is not None:
                return _repaired(config, repair, around, confirm_deletes=confirm_deletes)
            if key:
                return jobs.sync_keys(config, key, tables=tables, surroundings=around)
            if watch is not None:
                return _watch(options, Watched(config, watch, asked, tables, metrics_file), around)
            return jobs.sync(config, **vars(asked), tables=tables, surroundings=around)
        finally:
            _measure(config, around, metrics_file)

    run_job("sync", options, job, print_forecast if dry_run else print_repair if repair is not None else print_sync)


def _repaired(config: Config, report: str, around: Surroundings, *, confirm_deletes: bool) -> Any:
    from byov_migrate.jobs.repair import repair

    return repair(config, report, confirm_deletes=confirm_deletes, surroundings=around)


def _given(**options: Any) -> set[str]:
    """Names of the options that were given, as they are typed."""
    return {f"--{name.replace('_', '-')}" for name, value in options.items() if value not in (None, False, [])}


def _require_compatible(given: Collection[str]) -> None:
    from byov_migrate.errors import ConfigurationError

    for pair in _EXCLUSIVE:
        if all(name in given for name in pair):
            raise ConfigurationError(f"{' and '.join(pair)} do not go together")


@dataclass(frozen=True)
class Asked:
    """What a sync is asked for, by the names that it knows."""

    full: bool
    confirm_deletes: bool
    accept: str | None


@dataclass(frozen=True)
class Watched:
    """What is watched, and how."""

    config: Config
    every_s: float
    asked: Asked
    tables: tuple[str, ...]
    metrics_file: Path | None


def _watch(options: Options, watched: Watched, around: Surroundings) -> Any:
    """Watch until a signal; return what a sync returns that did nothing."""
    from byov_migrate.errors import Unavailable
    from byov_migrate.jobs.sync import SyncResult
    from byov_migrate.jobs.watch import watch
    from byov_migrate.report import results
    from byov_migrate.report.syncing import print_sync

    def told(outcome: SyncResult | Unavailable) -> None:
        _measure(watched.config, around, watched.metrics_file)
        if isinstance(outcome, Unavailable):
            if not getattr(outcome, "silent", False):
                results.complain(results.last_line("sync", outcome))
        else:
            results.print_json(outcome) if options.as_json else print_sync(outcome)

    watch(
        watched.config,
        watched.every_s,
        told=told,
        **vars(watched.asked),
        tables=watched.tables,
        surroundings=around,
    )
    return SyncResult(())


def _measure(config: Config, around: Surroundings, file: Path | None) -> None:
    """Write the metrics; they are there whatever became of the run, unless there is no state yet.

    A file that cannot be written is told, and changes nothing about how the run ends.
    """
    if file is None:
        return
    from byov_migrate.errors import MigrationError
    from byov_migrate.jobs.metrics import read_metrics
    from byov_migrate.report.metrics import write_metrics
    from byov_migrate.report.results import complain

    try:
        write_metrics(read_metrics(config, around), file)
    except OSError as error:
        complain(f"byov-migrate sync: --metrics-file {file} cannot be written: {error.strerror}")
    except MigrationError:
        return
