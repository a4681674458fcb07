"""The hash key: made once, mode 0600, never replaced. Without it nothing can be verified or recovered."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from byov_migrate.config_values import Secret
from byov_migrate.digests import Digests
from byov_migrate.errors import Refused
from byov_migrate.state.database import translated_errors

KEY_BYTES = 32


def open_hash_key(secret: Secret, environment: Mapping[str, str], *, create: bool) -> Digests:
    """The keyed hashes. A missing key file is made when `create`, which is when no state used it yet.

    Raise Refused when the file is gone although a state depends on it, or holds no key.
    """
    if secret.file is not None and not secret.file.exists():
        if not create:
            raise Refused(
                f"the hash key {secret.file.name} is gone, and the state depends on it; put it back from your backup"
            )
        write_key(secret.file, secrets.token_hex(KEY_BYTES))
    text = secret.read(environment)
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Refused(f"the hash key is not {2 * KEY_BYTES} hexadecimal digits")
    return Digests(key)


def write_key(path: Path, key: str) -> None:
    """Write a key of hexadecimal digits, durable before use: one lost to a power cut would orphan every record."""
    with translated_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # unlike rename, fails when another process was first
        finally:
            temporary.unlink()
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
