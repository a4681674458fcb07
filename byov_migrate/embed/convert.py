"""An older model directory, whose weights are pickles, as one with safetensors: whole or not at all.

Reading a pickle can run code, so nothing of it is read in this process. Before the new directory gets its name, the
vectors that the old and the new one give for the same texts are compared.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from byov_migrate.embed.confined import LIBRARIES_BYTES, Confinement
from byov_migrate.embed.directory import Directory
from byov_migrate.embed.library import require_libraries
from byov_migrate.embed.model_files import WEIGHTS, judge
from byov_migrate.errors import ConfigurationError, Interrupted, MigrationError, Unavailable
from byov_migrate.records import Vector

LOWEST_COSINE = 0.9999
TEXTS = 32
PICKLE = "pytorch_model.bin"
SETTINGS = ("*.json", "*.txt", "*.model")
EMPTY_WEIGHTS = struct.pack("<Q", 2) + b"{}"
_WORDS = (
    "senior data engineer remote Berlin salary 70,000 to 90,000 EUR; we build pipelines, search and APIs. "
    "Über Erfahrung mit SQL freuen wir uns! 東京 の チーム C++ (m/f/d) 40 h/week https apply now? café naïve 3.5 %"
).split()


@dataclass(frozen=True)
class ConvertResult:
    """What became of a directory. Paths in the tuples are relative, folders end in a slash.

    converted: pickles; copied: files the loader uses; left_out: everything else, named so that nobody misses it;
    lowest_cosine: over all texts, between the vectors of both directories; has_namespace: whether the pickles were
    read without any network, and not only by a Python that refuses connections.
    """

    source: Path
    destination: Path
    converted: tuple[str, ...]
    copied: tuple[str, ...]
    left_out: tuple[str, ...]
    tensors: int
    texts: int
    lowest_cosine: float
    has_namespace: bool
    seconds: float


def convert_directory(
    source: Path,
    destination: Path,
    *,
    is_stopped: Callable[[], bool] = lambda: False,
    monotonic: Callable[[], float] = time.monotonic,
) -> ConvertResult:
    """Write `destination`, which must not exist, and try it.

    Raise ConfigurationError for a source that cannot be converted safely or a destination that is there, MigrationError
    when the two give different vectors, PersonNeeded when it takes too much memory, Unavailable for a full disk,
    Interrupted. The destination does not exist then.
    """
    started_monotonic = monotonic()
    directory = Directory(source.resolve())
    _check_places(directory, destination)
    require_libraries()
    with _disk_faults(destination), tempfile.TemporaryDirectory(prefix="byov-convert-") as scratch:
        work = _Work(directory, Path(scratch).resolve(), is_stopped)
        files = work.prepare()
        reply = work.convert(files)
        cosine = work.compare(files)
        _place(work.made, destination)
    return ConvertResult(
        source=directory.root,
        destination=destination.resolve(),
        converted=files.converted,
        copied=files.copied,
        left_out=_left_out(directory.root, {*files.converted, *files.copied}),
        tensors=reply["tensors"],
        texts=TEXTS,
        lowest_cosine=cosine,
        has_namespace=reply["has_namespace"],
        seconds=monotonic() - started_monotonic,
    )
