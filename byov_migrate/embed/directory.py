"""Reading a model directory that may be hostile: nothing outside it is opened, nothing is believed to be complete."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from byov_migrate.errors import ConfigurationError

LFS_BEGINNING = b"version https://git-lfs.github.com/spec/"
JSON_LIMIT_BYTES = 64 * 2**20
HEADER_LIMIT_BYTES = 100 * 2**20


@dataclass(frozen=True)
class Directory:
    """A model directory, `root` with every symbolic link resolved. Paths given to it are relative, with slashes."""

    root: Path

    def refuse(self, finding: str, fix: str) -> NoReturn:
        """Raise ConfigurationError: which directory, what was found, what to do."""
        raise ConfigurationError(f"model directory {self.root}: {finding}", next_step=fix)

    def has(self, relative: str) -> bool:
        """Whether there is a regular file of that name; refused when it really lies outside the directory."""
        path = self.root / relative
        if not path.is_file():
            return False
        if not path.resolve().is_relative_to(self.root):
            self.refuse(
                f"{relative} is a link that leads outside the directory",
                f"copy the model with its links resolved: cp -rL {self.root} DIRECTORY, and set path to the copy",
            )
        return True

    def read_json(self, relative: str) -> Any:
        """The content of a JSON file; refused when it is too large, is no JSON or stands for a file not fetched."""
        self.check_fetched(relative)
        path = self.root / relative
        if path.stat().st_size > JSON_LIMIT_BYTES:
            self.refuse(f"{relative} is larger than {JSON_LIMIT_BYTES >> 20} MiB", "save the model again")
        try:
            return json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            self.refuse(f"{relative} is not valid JSON", "save the model again, or copy the file again")

    def read_object(self, relative: str) -> dict[str, Any]:
        """The content of a JSON file that must hold an object."""
        content = self.read_json(relative)
        if not isinstance(content, dict):
            self.refuse(f"{relative} holds no JSON object", "save the model again")
        return content

    def object_under(self, settings: Mapping[str, Any], key: str) -> dict[str, Any]:
        """The object that stands under a key, empty when there is none; refused when something else stands there."""
        content = settings.get(key) or {}
        if not isinstance(content, dict):
            self.refuse(f"{key} holds no JSON object", "save the model again")
        return content

    def check_fetched(self, relative: str) -> None:
        """Refuse the small text file that git leaves in place of a large file it did not fetch."""
        with (self.root / relative).open("rb") as stream:
            if stream.read(len(LFS_BEGINNING)) == LFS_BEGINNING:
                self.refuse(
                    f"{relative} is a git-lfs pointer, not the file itself",
                    "run `git lfs pull` in the directory, or copy the file from where it was trained",
                )

    def check_weights(self, relative: str) -> None:
        """Refuse a safetensors file whose length is not what its own header says: a copy that was cut off."""
        self.check_fetched(relative)
        path = self.root / relative
        size = path.stat().st_size
        with path.open("rb") as stream:
            announced = stream.read(8)
            length = struct.unpack("<Q", announced)[0] if len(announced) == 8 else size
            header = stream.read(length) if length <= min(size - 8, HEADER_LIMIT_BYTES) else b""
        if _end_of_tensors(header) != size - 8 - length:
            self.refuse(f"{relative} is incomplete or is no safetensors file", "copy the file again")


def _end_of_tensors(header: bytes) -> int | None:
    """Bytes that the tensors take according to the header of a safetensors file; None when it is none."""
    try:
        entries = json.loads(header)
        return max((entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return None
