"""Whether a page can be made and where it goes, known before a verify of hours begins; and the file itself."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from byov_migrate.errors import ConfigurationError, PersonNeeded

INSTALL = "pip install 'byov-migrate[report]'"


def require_ready(path: Path) -> None:
    """Raise ConfigurationError when the pictures cannot be drawn or there is no folder for the page."""
    if find_spec("matplotlib") is None:
        raise ConfigurationError("--html draws with matplotlib, which is not installed", next_step=INSTALL)
    if path.is_dir():
        raise ConfigurationError(f"--html {path} is a folder; name a file in it")
    if not path.absolute().parent.is_dir():
        raise ConfigurationError(f"--html {path}: there is no folder {path.parent}")


def write_page(content: str, path: Path) -> None:
    """The page, whole or not at all, readable by nobody else: it may hold keys. Raise PersonNeeded when it fails."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(content)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise PersonNeeded(f"cannot write {path}: {error.strerror}") from error
