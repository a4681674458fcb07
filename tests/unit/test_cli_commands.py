"""The command line as installed: quick to help, exact about what is wrong, silent on stdout when it fails."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import typer.main

from byov_migrate.cli import app
from byov_migrate.state import open_state

CONFIG = """
[source]
dsn = { env = "DATABASE_URL" }
[target]
url = "http://127.0.0.1:9"
api_key = { env = "RUSHDB_API_KEY" }
[[tables]]
name = "public.job"
label = "Job"
columns = ["id"]
"""
HEAVY = {"torch", "sentence_transformers", "transformers", "psycopg", "sqlalchemy", "numpy", "starlette", "uvicorn"}
HEAVY |= {"httpx", "pydantic"}


def run(*arguments: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, with hardly any environment."""
    plain = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    command = [sys.executable, "-c", "from byov_migrate.cli import main; main()", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**plain, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


def commands() -> list[tuple[str, ...]]:
    """Every command and the beginnings of the groups."""
    groups = [(group.name or "", group.typer_instance) for group in app.registered_groups]
    own = [(command.name or command.callback.__name__,) for command in app.registered_commands if command.callback]
    nested = [
        (name, command.name or command.callback.__name__.removeprefix(f"{name}_"))
        for name, group in groups
        if group is not None
        for command in group.registered_commands
        if command.callback
    ]
    return [(), *own, *nested]


def test_help_imports_nothing_heavy() -> None:
    """It must not wait for a database driver or a model."""
    script = (
        "import sys, runpy; sys.argv = ['byov-migrate', '--help']\n"
        "try:\n    from byov_migrate.cli import main; main()\n"
        f"except SystemExit:\n    print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "backfill" in done.stdout


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    """With a sentence and its options."""
    found: Any = typer.main.get_command(app)
    for word in command:
        found = found.commands[word]
    assert found.help
    for parameter in found.params:
        assert parameter.help, parameter.name


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("nonsense",), "nonsense"),
        (("backfill", "--limit", "0"), "--limit"),
        (("backfill", "--limit", "many"), "--limit"),
        (("show",), "key"),
        (("search", "x", "--limit", "1001"), "--limit"),
        (("backfill", "--dsn", "postgresql://u:p@h/d"), "--dsn"),
        (("sync", "--watch", "5", "--dry-run"), "--dry-run and --watch do not go together"),
        (("sync", "--full", "--key", "1"), "--key and --full do not go together"),
        (("sync", "--confirm-deletes", "--key", "1"), "--key and --confirm-deletes do not go together"),
        (("sync", "--full", "--accept", "index", "--dry-run"), "--dry-run and --accept do not go together"),
    ],
)
def test_wrong_usage_ends_2(tmp_path: Path, arguments: tuple[str, ...], word: str) -> None:
    """With what is wrong."""
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert word in done.stderr
    assert done.stdout == ""


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of stderr."""
    return done.stderr.strip().splitlines()[-1]


def test_no_configuration_here_ends_2(tmp_path: Path) -> None:
    """And says how to name one."""
    done = run("status", folder=tmp_path)
    assert done.returncode == 2
    assert last_line(done).startswith("byov-migrate status: 2 which configuration? there is none here")
    assert "-c FILE or BYOV_CONFIG" in last_line(done)


def test_two_configurations_here_are_one_too_many(tmp_path: Path) -> None:
    """They are named; other TOML files are not counted."""
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(CONFIG)
    (tmp_path / "pyproject.toml").write_text("[project]")
    done = run("status", folder=tmp_path)
    assert done.returncode == 2
    assert "there are a.toml, b.toml" in last_line(done)


@pytest.mark.parametrize("way", ["only one here", "-c", "BYOV_CONFIG"])
def test_a_state_that_is_not_there_ends_4(tmp_path: Path, way: str) -> None:
    """`status` needs no database, no target and no secret."""
    (tmp_path / "jobs.toml").write_text(CONFIG)
    if way == "only one here":
        done = run("status", folder=tmp_path)
    elif way == "-c":
        done = run("status", "-c", str(tmp_path / "jobs.toml"))
    else:
        done = run("status", BYOV_CONFIG=str(tmp_path / "jobs.toml"))
    assert done.returncode == 4
    assert last_line(done) == "byov-migrate status: 4 there is no state at jobs.state.db; byov-migrate backfill"
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jobs.toml"]


def test_every_mistake_of_a_configuration_is_shown(tmp_path: Path) -> None:
    """Each on a line of its own."""
    (tmp_path / "jobs.toml").write_text(CONFIG.replace("label", "lable").replace("http:", "ftp:"))
    done = run("status", "-c", "jobs.toml", folder=tmp_path)
    assert done.returncode == 2
    assert "3 mistakes" in done.stderr
    assert 'tables[0].lable: unknown key; did you mean "label"?' in done.stderr


def test_a_secret_that_is_not_set_ends_77(tmp_path: Path) -> None:
    """By its name."""
    (tmp_path / "jobs.toml").write_text(CONFIG)
    done = run("plan", folder=tmp_path)
    assert done.returncode == 77
    assert "DATABASE_URL" in last_line(done)


def test_a_database_that_is_away_ends_75_and_quotes_no_password(tmp_path: Path) -> None:
    """Not even with everything shown."""
    (tmp_path / "jobs.toml").write_text(CONFIG)
    dsn = "postgresql://jobs:canary-5f0c@127.0.0.1:9/jobs?connect_timeout=2"
    done = run("plan", "-v", folder=tmp_path, DATABASE_URL=dsn)
    assert done.returncode == 75
    assert "canary" not in done.stdout + done.stderr
    assert last_line(done).startswith("byov-migrate plan: 75 ")


def test_an_unknown_log_format_ends_2(tmp_path: Path) -> None:
    """As any other usage."""
    (tmp_path / "jobs.toml").write_text(CONFIG)
    done = run("status", "--log-format", "xml", folder=tmp_path)
    assert (done.returncode, last_line(done)) == (2, "byov-migrate status: 2 --log-format is text or json")


def test_a_wrong_filter_ends_2(tmp_path: Path) -> None:
    """Before anything is opened."""
    (tmp_path / "jobs.toml").write_text(CONFIG)
    done = run("search", "x", "--where", "salary", folder=tmp_path)
    assert done.returncode == 2
    assert last_line(done).startswith("byov-migrate search: 2 --where has no operator")


def test_status_is_json_on_request(tmp_path: Path) -> None:
    """On stdout, and nothing else there."""
    (tmp_path / "jobs.toml").write_text(CONFIG)
    open_state(tmp_path / "jobs.state.db", lambda: 1.0, create=True).close()
    done = run("status", "--json", folder=tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["tables"][0]["label"] == "Job"
    late = run("status", "--max-age", "15m", folder=tmp_path)
    assert late.returncode == 75
    assert last_line(late).startswith("byov-migrate status: 75 there is no complete run")
    wrong = run("status", "--max-age", "soon", folder=tmp_path)
    assert wrong.returncode == 2


WAITING = """
import time
from byov_migrate import cli
from byov_migrate.cli.frame import Options, run_job

def job(around):
    print("ready", flush=True)
    if stubborn:
        around.stop.wait(20)
        print("stopped", flush=True)
        time.sleep(20)
    around.patience(60).pause("the target to come back", 60)

@cli.app.command()
def waiting():
    run_job("backfill", Options(), job, print)

cli.app(["waiting"])
"""


@contextlib.contextmanager
def waiting(*, stubborn: bool) -> Iterator[subprocess.Popen[str]]:
    """A run that waits for its target, or one that does not end when it should."""
    script = WAITING.replace("if stubborn", f"if {stubborn}")
    with subprocess.Popen([sys.executable, "-c", script], stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_waiting_run_ends_at_a_signal_with_its_code(number: int, code: int) -> None:
    """A target that is away is waited for; the wait ends at once, and the last line says so."""
    with waiting(stubborn=False) as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=10)
    assert err.strip().splitlines()[-1].startswith(f"byov-migrate backfill: {code} ")
    assert process.returncode == code


@pytest.mark.parametrize(("second", "codes"), [(signal.SIGINT, (130, -2)), (signal.SIGTERM, (-15,))])
def test_a_second_signal_ends_a_run_that_does_not_drain(second: int, codes: tuple[int, ...]) -> None:
    """Reported as interrupted, never as a bug."""
    with waiting(stubborn=True) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "stopped\n"
        process.send_signal(second)
        process.communicate(timeout=10)
    assert process.returncode in codes
