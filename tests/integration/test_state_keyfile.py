"""The hash key: made once, durable before use, never replaced."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from byov_migrate.config_values import Secret
from byov_migrate.errors import CredentialsRefused, MigrationError, PersonNeeded, Refused
from byov_migrate.state.keyfile import open_hash_key

HEX = "ab" * 32


def test_a_key_is_made_at_first_use_and_read_from_then_on(tmp_path: Path) -> None:
    """32 random bytes as hexadecimal digits, for its owner alone, in a folder of its own if need be."""
    path = tmp_path / "keys" / "jobs.hash-key"
    first = open_hash_key(Secret(file=path), {}, create=True)
    assert len(first.key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert open_hash_key(Secret(file=path), {}, create=False).key == first.key
    assert open_hash_key(Secret(file=path), {}, create=True).key == first.key
    assert list(path.parent.iterdir()) == [path]


def test_two_keys_are_never_the_same(tmp_path: Path) -> None:
    """Nor is one predictable from the other."""
    keys = {open_hash_key(Secret(file=tmp_path / str(n)), {}, create=True).key for n in range(5)}
    assert len(keys) == 5


def test_a_key_that_is_gone_is_not_replaced(tmp_path: Path) -> None:
    """A new one would make every stored hash wrong, and every row look changed."""
    path = tmp_path / "jobs.hash-key"
    with pytest.raises(Refused, match="backup"):
        open_hash_key(Secret(file=path), {}, create=False)
    assert not path.exists()


def test_file_and_folder_are_flushed_before_the_key_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key lost to a power cut orphans every record that was written with it."""
    path, flushed = tmp_path / "jobs.hash-key", []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        mode = os.fstat(descriptor).st_mode
        flushed.append("folder" if stat.S_ISDIR(mode) else f"{os.fstat(descriptor).st_size} bytes")
        assert path.exists() is stat.S_ISDIR(mode)  # under its name only when its content is on the disk
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    open_hash_key(Secret(file=path), {}, create=True)
    assert flushed == ["65 bytes", "folder"]


@pytest.mark.parametrize("content", ["", "abcd", HEX + "ab", "g" * 64, HEX[:-1]])
def test_what_is_no_key_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    """A truncated key file hashes everything differently without a word."""
    path = tmp_path / "jobs.hash-key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises((Refused, CredentialsRefused)) as caught:
        open_hash_key(Secret(file=path), {}, create=True)
    assert path.read_text() == content
    assert not content or content not in str(caught.value)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """With it, short texts can be guessed from their hashes."""
    path = tmp_path / "jobs.hash-key"
    path.write_text(HEX)
    path.chmod(0o644)
    with pytest.raises(CredentialsRefused, match="chmod 600"):
        open_hash_key(Secret(file=path), {}, create=False)


def test_a_key_from_the_environment_or_a_command() -> None:
    """Nothing is made; upper case is the same key."""
    assert open_hash_key(Secret(env="KEY"), {"KEY": HEX.upper()}, create=True).key.hex() == HEX
    assert open_hash_key(Secret(command=("echo", HEX)), {}, create=True).key.hex() == HEX
    with pytest.raises(CredentialsRefused):
        open_hash_key(Secret(env="KEY"), {}, create=True)


def test_another_process_that_was_first_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key may have been used already; nothing of ours stays behind."""
    path = tmp_path / "jobs.hash-key"
    real = os.link

    def beaten(source: Path, target: Path) -> None:
        path.write_text(HEX)
        path.chmod(0o600)
        real(source, target)

    monkeypatch.setattr(os, "link", beaten)
    with pytest.raises(MigrationError):
        open_hash_key(Secret(file=path), {}, create=True)
    assert path.read_text() == HEX
    assert list(tmp_path.iterdir()) == [path]


def test_a_key_that_cannot_be_written_needs_a_person(tmp_path: Path) -> None:
    """Without a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises((PersonNeeded, CredentialsRefused)):
        open_hash_key(Secret(file=tmp_path / "file" / "key"), {}, create=True)
