"""What all commands share: their options, how a job is run under signals, how its outcome becomes an exit code."""

from __future__ import annotations

import functools
import gc
import inspect
import os
import threading
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from byov_migrate.config import Config
    from byov_migrate.filters import Filter
    from byov_migrate.jobs.surroundings import Surroundings
    from byov_migrate.report.live import Live

ConfigFile = Annotated[Path | None, typer.Option("-c", "--config", help="Configuration file (or BYOV_CONFIG).")]
AsJson = Annotated[bool, typer.Option("--json", help="Result as JSON.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Every event; keys in messages.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress, only results and errors.")]
LogFormatName = Annotated[str, typer.Option("--log-format", help="text or json lines on stderr.")]
DemoFolder = Annotated[Path, typer.Option("--folder", help="Where everything of the demo lies.")]
TableName = Annotated[str | None, typer.Option("--table", help="One table, by name or label.")]
EmbeddingName = Annotated[
    str | None, typer.Option("--embedding", help="One of several embeddings, by its property. Default: the first.")
]
Wheres = Annotated[
    list[str] | None, typer.Option("--where", help="NAME OP VALUE, as in 'salaryMin >= 80000'. Repeatable.")
]

NEW_OBJECTS = 50_000
"""So many, and the garbage collector looks at them; Python's own 700 took a fifth of a run's processor time.

A run holds the rows of some batches at once, and hardly anything of it lies in cycles.
"""


@dataclass(frozen=True)
class Options:
    """What every command takes."""

    config: Path | None = None
    as_json: bool = False
    verbose: bool = False
    quiet: bool = False
    log_format: str = "text"

    def live(self) -> Live:
        """What shows progress and events. Raise ConfigurationError for an unknown format."""
        from byov_migrate.errors import ConfigurationError
        from byov_migrate.report.live import Live

        if self.log_format not in ("text", "json"):
            raise ConfigurationError("--log-format is text or json")
        verbosity = 1 if self.verbose else -1 if self.quiet else 0
        return Live("json" if self.log_format == "json" else "text", verbosity)

    def load(self) -> Config:
        """The configuration named by -c, by BYOV_CONFIG, or the only one here."""
        from byov_migrate.config import load_config

        return load_config(self.config or _default_config(), os.environ)


_SHARED = {
    "config": ConfigFile,
    "as_json": AsJson,
    "verbose": Verbose,
    "quiet": Quiet,
    "log_format": LogFormatName,
}


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command whose first parameter is `options` the options that all commands share."""

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        shared = {name: given.pop(name) for name in _SHARED}
        command(Options(**shared), **given)

    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    defaults = Options()
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=getattr(defaults, name), annotation=kind)
        for name, kind in _SHARED.items()
    ]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + shared
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper


def _default_config() -> Path:
    """BYOV_CONFIG, else the only file here that has [source] and [target]."""
    from byov_migrate.errors import ConfigurationError

    if named := os.environ.get("BYOV_CONFIG"):
        return Path(named)
    found = [path for path in sorted(Path().glob("*.toml")) if _is_ours(path)]
    if len(found) != 1:
        seen = f"there are {', '.join(path.name for path in found)}" if found else "there is none here"
        raise ConfigurationError(f"which configuration? {seen}; name one with -c FILE or BYOV_CONFIG")
    return found[0]


def _is_ours(path: Path) -> bool:
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return "source" in given and "target" in given


def run_job(command: str, options: Options, job: Callable[[Surroundings], Any], show: Callable[[Any], None]) -> None:
    """Run a job under signals, show its result, exit with its code."""
    from byov_migrate.errors import Interrupted, MigrationError
    from byov_migrate.report import results
    from byov_migrate.signals import draining

    gc.set_threshold(NEW_OBJECTS)
    stop = threading.Event()
    try:
        live = options.live()
        with draining(stop) as received:
            try:
                result = job(_surroundings(stop, live))
            except Interrupted as error:
                raise Interrupted(received[0] if received else error.signal_number) from error
            finally:
                live.close()
            results.print_json(result) if options.as_json else show(result)
    except MigrationError as error:
        if not getattr(error, "silent", False):
            results.complain(results.last_line(command, error), with_traceback=options.verbose)
        raise typer.Exit(_code_of(error)) from None
    except Exception as error:  # noqa: BLE001 - the last line of defence; a traceback, then one sentence
        results.complain(results.bug_line(command, error), with_traceback=True)
        raise typer.Exit(results.BUG_CODE) from None
    raise typer.Exit(getattr(result, "exit_code", 0))


def _surroundings(stop: threading.Event, live: Live) -> Surroundings:
    from byov_migrate.jobs.surroundings import Surroundings

    return Surroundings(stop=stop, progress=live.progress, log=live.log, countdown=live.countdown)


def _code_of(error: Any) -> int:
    return int(getattr(error, "signal_exit_code", error.exit_code))


def filters(texts: list[str] | None) -> list[Filter]:
    """The filters of `--where`. Raise ConfigurationError."""
    from byov_migrate.errors import ConfigurationError
    from byov_migrate.filters import FilterError, parse_filter

    try:
        return [parse_filter(text) for text in texts or []]
    except FilterError as error:
        raise ConfigurationError(f"--where {error}") from error
