"""A directory that appears whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from byov_migrate.errors import ConfigurationError, Unavailable


def publish(made: Path, destination: Path) -> None:
    """Give the finished directory its name, once its content is on the disk. Raise ConfigurationError if taken."""
    for path in (*made.rglob("*"), made):
        _flush(path)
    if os.path.lexists(destination):  # a rename would replace an empty directory
        raise ConfigurationError(f"{destination} has appeared meanwhile", next_step="name a new directory")
    made.rename(destination)
    _flush(destination.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_faults(destination: Path) -> Iterator[None]:
    """Translate what the file system raises: Unavailable for a full disk, else ConfigurationError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Unavailable(f"no room left for {destination}") from error
        raise ConfigurationError(
            f"{error.filename or destination}: {error.strerror or type(error).__name__}",
            next_step="see that the source can be read and the destination's folder written to",
        ) from error
