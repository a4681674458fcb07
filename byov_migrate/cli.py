"""The command line: parse, build, call one job, turn the outcome into an exit code.

Every import of a job stands inside its command: `--help` must not wait for a database driver or a model.
"""

from __future__ import annotations

import functools
import getpass
import inspect
import os
import sys
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

app = typer.Typer(
    name="byov-migrate",
    help="Moves rows and home-made vectors from PostgreSQL to RushDB; the text stays at home.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
model_app = typer.Typer(help="About a model directory.", no_args_is_help=True, rich_markup_mode=None)
rejects_app = typer.Typer(help="Rows that were refused.", no_args_is_help=True, rich_markup_mode=None)
state_app = typer.Typer(help="The state file of a migration.", no_args_is_help=True, rich_markup_mode=None)
demo_app = typer.Typer(rich_markup_mode=None)
app.add_typer(state_app, name="state")
app.add_typer(demo_app, name="demo")
app.add_typer(model_app, name="model")
app.add_typer(rejects_app, name="rejects")

ConfigFile = Annotated[Path | None, typer.Option("-c", "--config", help="Configuration file (or BYOV_CONFIG).")]
AsJson = Annotated[bool, typer.Option("--json", help="Result as JSON.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Every event; keys in messages.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress, only results and errors.")]
LogFormatName = Annotated[str, typer.Option("--log-format", help="text or json lines on stderr.")]
DemoFolder = Annotated[Path, typer.Option("--folder", help="Where everything of the demo lies.")]
TableName = Annotated[str | None, typer.Option("--table", help="One table, by name or label.")]
Wheres = Annotated[
    list[str] | None, typer.Option("--where", help="NAME OP VALUE, as in 'salaryMin >= 80000'. Repeatable.")
]


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


def _with_options(command: Callable[..., None]) -> Callable[..., None]:
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


def _run(command: str, options: Options, job: Callable[[Surroundings], Any], show: Callable[[Any], None]) -> None:
    """Run a job under signals, show its result, exit with its code."""
    from byov_migrate.errors import Interrupted, MigrationError
    from byov_migrate.report import results
    from byov_migrate.signals import draining

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


def _filters(texts: list[str] | None) -> list[Filter]:
    from byov_migrate.errors import ConfigurationError
    from byov_migrate.filters import FilterError, parse_filter

    try:
        return [parse_filter(text) for text in texts or []]
    except FilterError as error:
        raise ConfigurationError(f"--where {error}") from error


@app.command()
@_with_options
def plan(options: Options) -> None:
    """What would happen and what would leave. Writes nothing."""
    from byov_migrate.report.results import print_plan

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.plan import plan as run

        return run(options.load(), surroundings=around)

    _run("plan", options, job, print_plan)


@app.command()
@_with_options
def backfill(
    options: Options,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Stop once this many rows are stored.")] = None,
    table: Annotated[list[str] | None, typer.Option("--table", help="Only this table. Repeatable.")] = None,
) -> None:
    """Bring all rows into RushDB. Killed or stopped, run it again: it goes on."""
    from byov_migrate.report.results import print_backfill

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.backfill import backfill as run

        return run(options.load(), limit=limit, tables=table or (), surroundings=around)

    _run("backfill", options, job, print_backfill)


@app.command()
@_with_options
def search(
    options: Options,
    text: Annotated[str, typer.Argument(help="What to look for; embedded on this machine.")],
    where: Wheres = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many hits.")] = 10,
    skip: Annotated[int, typer.Option("--skip", min=0, help="How many of the best to leave out.")] = 0,
    exact: Annotated[bool, typer.Option("--exact", help="Compare every record instead of asking the index.")] = False,
    table: TableName = None,
) -> None:
    """Search by meaning, local text beside each hit."""
    from byov_migrate.report.results import print_search

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.search import search as run

        page = {"limit": limit, "skip": skip}
        return run(options.load(), text, where=_filters(where), exact=exact, table=table, surroundings=around, **page)

    _run("search", options, job, print_search)


@app.command()
@_with_options
def show(
    options: Options,
    key: Annotated[str, typer.Argument(help="The row's key.")],
    table: TableName = None,
) -> None:
    """One record: properties, vector, batch, reject, difference to PostgreSQL."""
    from byov_migrate.report.results import print_record

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.show import show as run

        return run(options.load(), key, table=table, surroundings=around)

    _run("show", options, job, print_record)


@app.command()
@_with_options
def status(
    options: Options,
    run: Annotated[str | None, typer.Option("--run", help="Events of the run whose id begins so.")] = None,
    max_age: Annotated[
        str | None, typer.Option("--max-age", help="End 75 when the last complete run is older than this: 15m.")
    ] = None,
) -> None:
    """Position, rejects and last runs, from the state alone."""
    from byov_migrate.report.results import print_status

    def job(around: Surroundings) -> Any:
        from byov_migrate.config import parse_duration
        from byov_migrate.jobs.status import status as read

        oldest = parse_duration(max_age) if max_age else None
        return read(options.load(), run=run, max_age_s=oldest, surroundings=around)

    _run("status", options, job, print_status)


@rejects_app.command("list")
@_with_options
def rejects_list(options: Options, table: TableName = None) -> None:
    """Every rejected row: stage, code, reason, and the setting that would help."""
    from byov_migrate.report.results import print_rejects

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.rejects import list_rejects

        return list_rejects(options.load(), table=table, surroundings=around)

    _run("rejects list", options, job, print_rejects)


@rejects_app.command("retry")
@_with_options
def rejects_retry(options: Options, table: TableName = None) -> None:
    """Read the rejected rows again, and send those that are fit now."""
    from byov_migrate.report.results import print_retry

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.rejects import retry_rejects

        return retry_rejects(options.load(), table=table, surroundings=around)

    _run("rejects retry", options, job, print_retry)


@rejects_app.command("accept")
@_with_options
def rejects_accept(
    options: Options,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with who and when.")],
    key: Annotated[str | None, typer.Argument(help="The row's key.")] = None,
    code: Annotated[str | None, typer.Option("--code", help="All rejects of this code.")] = None,
    table: TableName = None,
) -> None:
    """Accept a rejected row as it is: no difference any more."""
    from byov_migrate.report.results import print_accepted

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.rejects import accept_rejects

        chosen = {"key": key, "code": code, "table": table}
        return accept_rejects(options.load(), reason=reason, by=getpass.getuser(), surroundings=around, **chosen)

    _run("rejects accept", options, job, print_accepted)


@state_app.command("backup")
@_with_options
def state_backup(
    options: Options,
    file: Annotated[Path, typer.Argument(help="A new file; it will hold the hash key too: keep it safe.")],
) -> None:
    """Copy the state and its hash key into one file, also while a run is at work."""
    from byov_migrate.report.results import print_backup

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.backup import backup_state

        return backup_state(options.load(), file, surroundings=around)

    _run("state backup", options, job, print_backup)


@state_app.command("restore")
@_with_options
def state_restore(
    options: Options,
    file: Annotated[Path, typer.Argument(help="A file that `state backup` made.")],
) -> None:
    """Put a backup in place of a state that is gone. The old copy, should it turn up again, then only reads."""
    from byov_migrate.report.results import print_backup

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.backup import restore_state

        return restore_state(options.load(), file, surroundings=around)

    _run("state restore", options, job, print_backup)


@model_app.command("show")
@_with_options
def model_show(
    options: Options,
    name: Annotated[str | None, typer.Argument(help="A [models.NAME]; the only one by default.")] = None,
) -> None:
    """Dimension, window, prompts, fingerprint; what is refused and why."""
    from byov_migrate.report.results import print_model

    def job(_around: Surroundings) -> Any:
        from byov_migrate.jobs.models import describe_model

        return describe_model(options.load(), name)

    _run("model show", options, job, print_model)


@model_app.command("convert")
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

    _run("model convert", Options(as_json=as_json, verbose=verbose), job, print_conversion)


@app.command()
@_with_options
def embed(
    options: Options,
    text: Annotated[str, typer.Argument(help="A query; embedded on this machine.")],
    table: TableName = None,
) -> None:
    """The query vector of a text, as JSON."""
    from byov_migrate.report.results import print_json

    def job(_around: Surroundings) -> Any:
        from byov_migrate.jobs.models import QueryEncoder

        return QueryEncoder(options.load(), table=table).encode(text)

    _run("embed", options, job, print_json)


@app.command()
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

    _run("sandbox", Options(), job, lambda _result: None)


@demo_app.callback(invoke_without_command=True)
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
        from byov_migrate.jobs.demo.run import demo as run

        return run(folder, program=sys.argv[0], postings=postings, fresh=fresh, surroundings=around)

    _run("demo", Options(as_json=as_json, log_format=log_format), job, print_demo)


@demo_app.command("search")
def demo_search(
    text: Annotated[str, typer.Argument(help="What to look for.")],
    where: Wheres = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many hits.")] = 5,
    folder: DemoFolder = Path("demo"),
    as_json: AsJson = False,
) -> None:
    """Search the demo's postings; its servers are started for it."""
    from byov_migrate.report.results import print_search

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.demo.run import demo_servers
        from byov_migrate.jobs.search import search as run

        with demo_servers(folder, around) as config:
            return run(config, text, where=_filters(where), limit=limit, surroundings=around)

    _run("demo search", Options(as_json=as_json), job, print_search)


@demo_app.command("show")
def demo_show(
    key: Annotated[str, typer.Argument(help="The posting's id.")],
    folder: DemoFolder = Path("demo"),
    as_json: AsJson = False,
) -> None:
    """Show one of the demo's records; its servers are started for it."""
    from byov_migrate.report.results import print_record

    def job(around: Surroundings) -> Any:
        from byov_migrate.jobs.demo.run import demo_servers
        from byov_migrate.jobs.show import show as run

        with demo_servers(folder, around) as config:
            return run(config, key, surroundings=around)

    _run("demo show", Options(as_json=as_json), job, print_record)


def main() -> None:
    """The console script."""
    app()
