"""State and hash key to one file, and back on another machine or another day."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from byov_migrate.config import Config
from byov_migrate.errors import ConfigurationError
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.state import open_state
from byov_migrate.state.backup import copy_in, copy_out
from byov_migrate.state.keyfile import open_hash_key


@dataclass(frozen=True, slots=True)
class BackupResult:
    """Which state was copied, and the file at the other end."""

    file: Path
    state_id: str
    generation: int


def backup_state(config: Config, file: Path, *, surroundings: Surroundings | None = None) -> BackupResult:
    """Write a new file with the state and its hash key, 0600. Raise Refused when there is no state, or the file is."""
    around = surroundings or Surroundings()
    with contextlib.closing(open_state(config.state_path, around.clock, create=False)) as state:
        about = BackupResult(file, state.runs.state_id, state.runs.generation)
    digests = open_hash_key(config.hash_key, around.environment, create=False)
    copy_out(config.state_path, digests.key, file)
    return about


def restore_state(config: Config, file: Path, *, surroundings: Surroundings | None = None) -> BackupResult:
    """Make the state and the key file of this configuration from a backup, one generation on.

    The target learns the new generation with the next run that writes; from then on the old copy is refused. Raise
    Refused when a state is there, or the file is no backup.
    """
    around = surroundings or Surroundings()
    key_file = config.hash_key.file
    if key_file is None:
        raise ConfigurationError("[state] hash_key is no file here; give it one to restore into")
    copy_in(file, config.state_path, key_file)
    with contextlib.closing(open_state(config.state_path, around.clock, create=False)) as state:
        return BackupResult(config.state_path, state.runs.state_id, state.runs.generation)
