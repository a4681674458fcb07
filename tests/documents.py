"""The repository's documents, as the tests that hold them to the program read them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
FENCE = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")
"""A block of code: language, content."""


def read(name: str) -> str:
    """A file by its path from the root."""
    return (ROOT / name).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """Without blocks of code."""
    return FENCE.sub("", text)
