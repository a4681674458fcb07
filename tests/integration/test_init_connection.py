"""Where `init` finds the database, as the installed command: address, variables, service; what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

TABLE = "CREATE TABLE job (id int PRIMARY KEY, title text, body text); INSERT INTO job VALUES (1, 'a', 'b')"


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `init` with hardly any environment."""
    command = [sys.executable, "-c", "from byov_migrate.cli import main; main()", "init", *arguments]
    plain = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(
        command, cwd=folder, env={**plain, **environment}, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def parts(database: str) -> dict[str, str]:
    """A database with one table, as libpq's parameters."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(TABLE)
    return {name: str(value) for name, value in conninfo_to_dict(database).items()}


def variables(parts: dict[str, str]) -> dict[str, str]:
    """The same as PG* variables."""
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE", "password": "PGPASSWORD"}
    return {names[name]: value for name, value in parts.items() if name in names}


def test_stdout_is_the_configuration_alone(parts: dict[str, str], tmp_path: Path) -> None:
    """So that it can be redirected; the summary for people goes to stderr, without a secret."""
    done = run(folder=tmp_path, DATABASE_URL=make_conninfo(**parts))
    assert done.returncode == 0, done.stderr
    assert tomllib.loads(done.stdout)["tables"][0]["name"] == "public.job"
    assert "1 table: public.job (1 rows)" in done.stderr
    assert "byov-migrate check" in done.stderr
    assert parts["password"] not in done.stdout + done.stderr


def test_the_summary_names_the_file_that_is_written(parts: dict[str, str], tmp_path: Path) -> None:
    """Who reads it does not have to think which file it was."""
    command = [sys.executable, "-c", "from byov_migrate.cli import main; main()", "init"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DATABASE_URL": make_conninfo(**parts)}
    with (tmp_path / "jobs.toml").open("wb") as file:
        done = subprocess.run(command, env=environment, stdout=file, stderr=subprocess.PIPE, text=True, check=True)
    assert done.stderr.startswith("jobs.toml: 1 table")
    assert "byov-migrate check -c jobs.toml" in done.stderr


def test_pg_variables_serve_and_are_told_how_to_be_used(parts: dict[str, str], tmp_path: Path) -> None:
    """The configuration reads DATABASE_URL, which then has to lead to them."""
    done = run(folder=tmp_path, **variables(parts))
    assert done.returncode == 0, done.stderr
    assert "export DATABASE_URL=postgresql://" in done.stderr


def test_a_service_and_a_password_file_serve(parts: dict[str, str], tmp_path: Path) -> None:
    """As for psql."""
    service = "".join(f"{name}={parts[name]}\n" for name in ("host", "port", "user", "dbname"))
    (tmp_path / "services").write_text(f"[jobs]\n{service}", encoding="utf-8")
    secret = tmp_path / "passwords"
    secret.write_text(f"*:*:*:*:{parts['password']}\n", encoding="utf-8")
    secret.chmod(0o600)
    found = {"PGSERVICEFILE": str(tmp_path / "services"), "PGPASSFILE": str(secret)}
    for environment in ({"PGSERVICE": "jobs"}, {"DATABASE_URL": "service=jobs"}):
        done = run(folder=tmp_path, **found, **environment)
        assert done.returncode == 0, done.stderr


def test_an_address_without_a_password_serves(parts: dict[str, str], tmp_path: Path) -> None:
    """The password comes from where libpq looks for one."""
    dsn = f"postgresql://{parts['user']}@{parts['host']}:{parts['port']}/{parts['dbname']}"
    done = run("--dsn", dsn, folder=tmp_path, PGPASSWORD=parts["password"])
    assert done.returncode == 0, done.stderr
    assert f"export DATABASE_URL={dsn}" in done.stderr
    assert dsn not in done.stdout


@pytest.mark.parametrize("dsn", ["postgresql://u:hidden-word@h/d", "host=h password=hidden-word"])
def test_a_password_on_the_command_line_is_refused_unseen(dsn: str, tmp_path: Path) -> None:
    """It stands in the list of processes already; it need not stand in a log too."""
    done = run("--dsn", dsn, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--dsn holds a password" in done.stderr
    assert "hidden-word" not in done.stderr


def test_a_malformed_address_is_not_quoted(tmp_path: Path) -> None:
    """libpq's own message quotes it."""
    done = run("--dsn", "postgresql://u:hidden word@h/d", folder=tmp_path)
    assert done.returncode == 2
    assert "hidden" not in done.stderr


def test_no_address_at_all_ends_2_and_says_what_is_looked_for(tmp_path: Path) -> None:
    """libpq would try a socket of this machine."""
    done = run(folder=tmp_path)
    assert done.returncode == 2
    assert "which database? Set DATABASE_URL" in done.stderr


def test_an_unknown_table_ends_2_and_names_a_near_one(parts: dict[str, str], tmp_path: Path) -> None:
    """A typing error."""
    done = run("--table", "public.jobs", folder=tmp_path, DATABASE_URL=make_conninfo(**parts))
    assert done.returncode == 2
    assert 'did you mean "public.job"?' in done.stderr


def test_a_database_without_a_usable_table_ends_2_with_the_reasons(database: str, tmp_path: Path) -> None:
    """Each table and what it lacks."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE heap (word text)")
    done = run(folder=tmp_path, DATABASE_URL=database)
    assert (done.returncode, done.stdout) == (2, "")
    assert "public.heap: public.heap has neither a primary key" in done.stderr


def test_columns_closed_to_the_role_are_not_proposed(parts: dict[str, str], tmp_path: Path) -> None:
    """The configuration has to work with the role that was used."""
    with psycopg.connect(make_conninfo(**parts), autocommit=True) as connection:
        name = sql.Identifier(f"reader_{parts['dbname']}")
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'word-of-a-test'").format(name))
        connection.execute(sql.SQL("GRANT SELECT (id, title) ON job TO {}").format(name))
    dsn = make_conninfo(**{**parts, "user": f"reader_{parts['dbname']}", "password": "word-of-a-test"})
    done = run(folder=tmp_path, DATABASE_URL=dsn)
    assert done.returncode == 0, done.stderr
    assert tomllib.loads(done.stdout)["tables"][0]["columns"] == ["id", "title"]
