"""The identity of a model as it is used: its files and the settings that change a vector."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from byov_migrate.config import ModelConfig
from byov_migrate.embed.model_files import ModelFiles


def fingerprint_model(files: ModelFiles, config: ModelConfig, *, dimension: int, window: int) -> str:
    """SHA-256 as 64 hex digits. Query prompt, dtype, device and batch size are not in it: they keep the meaning."""
    digests = {}
    for relative in files.used:
        with (files.root / relative).open("rb") as stream:
            digests[relative.as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    settings: dict[str, str | int | bool] = {
        "dimension": dimension,
        "document_prompt": config.document_prompt,
        "long_text": config.long_text,
        "max_tokens": window,
        "normalize": config.normalize,
    }
    return combine(digests, settings)


def combine(digests: Mapping[str, str], settings: Mapping[str, str | int | bool]) -> str:
    """Hash of the lines `<sha256> <relative path>` in the order of the paths' UTF-8, then compact sorted JSON."""
    lines = [f"{digests[path]} {path}\n" for path in sorted(digests, key=str.encode)]
    tail = json.dumps(dict(settings), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(("".join(lines) + tail).encode()).hexdigest()
