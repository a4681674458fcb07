"""The command line: parse, build, call one job, turn the outcome into an exit code.

Every import of a job stands inside its command: `--help` must not wait for a database driver or a model.
"""

from __future__ import annotations

import typer

from byov_migrate.cli import (
    adopting,
    keeping,
    models,
    moving,
    proving,
    reembedding,
    searching,
    starting,
    syncing,
    trying,
    undoing,
)

__all__ = ["app", "main"]

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
reembed_app = typer.Typer(rich_markup_mode=None)
app.add_typer(state_app, name="state")
app.add_typer(demo_app, name="demo")
app.add_typer(reembed_app, name="reembed")
app.add_typer(model_app, name="model")
app.add_typer(rejects_app, name="rejects")

app.command()(starting.init)
app.command()(starting.check)
app.command()(moving.plan)
app.command()(moving.backfill)
app.command()(syncing.sync)
app.command()(proving.verify)
app.command()(undoing.remove)
app.command()(adopting.adopt)
app.command()(searching.search)
app.command()(moving.show)
app.command()(moving.status)
app.command()(models.embed)
app.command()(trying.sandbox)
rejects_app.command("list")(keeping.rejects_list)
rejects_app.command("retry")(keeping.rejects_retry)
rejects_app.command("accept")(keeping.rejects_accept)
state_app.command("backup")(keeping.state_backup)
state_app.command("restore")(keeping.state_restore)
model_app.command("show")(models.model_show)
model_app.command("convert")(models.model_convert)
reembed_app.callback(invoke_without_command=True)(reembedding.reembed)
reembed_app.command("switch")(reembedding.reembed_switch)
reembed_app.command("drop")(reembedding.reembed_drop)
demo_app.callback(invoke_without_command=True)(trying.demo)
demo_app.command("search")(trying.demo_search)
demo_app.command("show")(trying.demo_show)


def main() -> None:
    """The console script."""
    app()
