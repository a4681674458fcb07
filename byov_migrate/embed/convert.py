"""An older model directory, whose weights are pickles, as one with safetensors: whole or not at all.

Reading a pickle can run code, so nothing of it is read in this process. Before the new directory gets its name, the
vectors that the old and the new one give for the same texts are compared.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from byov_migrate.embed.confined import LIBRARIES_BYTES, Confinement
from byov_migrate.embed.convert_samples import TEXTS, lowest_cosine, sample_texts
from byov_migrate.embed.directory import Directory
from byov_migrate.embed.model_files import WEIGHTS, judge
from byov_migrate.embed.publishing import disk_faults, publish
from byov_migrate.errors import ConfigurationError, Interrupted
from byov_migrate.records import Vector

LOWEST_COSINE = 0.9999
PICKLE = "pytorch_model.bin"
SETTINGS_ENDS = frozenset({".json", ".txt", ".model"})
EMPTY_WEIGHTS = struct.pack("<Q", 2) + b"{}"
_SAVE_AGAIN = "load it where it was trained and save it with save_pretrained, which writes safetensors"


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

    Raise ConfigurationError for a source that cannot be converted safely, a destination that is there or vectors that
    differ, PersonNeeded when it takes too much memory, Unavailable for a full disk, Interrupted: `destination` does
    not exist then.
    """
    started_monotonic = monotonic()
    directory = Directory(source.resolve())
    place = destination.absolute()
    _check_places(directory, place)
    # Beside the destination: on the same disk a rename is enough.
    with disk_faults(place), tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as scratch:
        work = _Work(directory, Path(scratch).resolve(), is_stopped)
        with work.naming_the_source():
            parts = work.prepare()
            tensors, has_namespace = work.convert(parts.pickles)
            cosine = work.compare(parts)
        publish(work.made, place)
    return ConvertResult(
        source=directory.root,
        destination=place,
        converted=parts.pickles,
        copied=parts.others,
        left_out=_left_out(directory.root, {*parts.pickles, *parts.others}),
        tensors=tensors,
        texts=TEXTS,
        lowest_cosine=cosine,
        has_namespace=has_namespace,
        seconds=monotonic() - started_monotonic,
    )


@dataclass(frozen=True)
class _Parts:
    """What the loader uses, relative to the source: pickles to be converted, and files to be copied."""

    pickles: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class _Work:
    """One conversion in a folder of its own.

    made: the new directory, until it has its name; old: the used files of the source, as links; child: all that a child
    process may change.
    """

    source: Directory
    scratch: Path
    is_stopped: Callable[[], bool]

    @property
    def made(self) -> Path:
        return self.scratch / "made"

    @property
    def old(self) -> Path:
        return self.scratch / "old"

    @property
    def child(self) -> Path:
        return self.scratch / "child"

    @contextmanager
    def naming_the_source(self) -> Iterator[None]:
        """An error speaks of the directory that was given, not of a temporary one."""
        try:
            yield
        except ConfigurationError as error:
            message, root = str(error), str(self.source.root)
            for place in (self.made, self.old):
                message = message.replace(str(place), root)
            if root not in message:
                message = f"model directory {root}: {message}"
            raise ConfigurationError(message, next_step=error.next_step) from error

    def prepare(self) -> _Parts:
        """Find out what the loader would use, on a likeness with empty weights, and copy that.

        The likeness is judged and not the source, which `judge` refuses for its pickles.
        """
        for folder in (self.made, self.old, self.child):
            folder.mkdir()
        for name in _names(self.source):
            self._liken(name)
        used = {path.as_posix() for path in judge(self.made).used}
        shutil.rmtree(self.made)
        pickles = {name for name in used if _is_weights(name) and not self.source.has(name)}
        if not pickles:
            self.source.refuse("it has no pickles to convert", "set models.NAME.path to it as it is")
        parts = _Parts(tuple(sorted(map(_pickle_of, pickles))), tuple(sorted(used - pickles)))
        for name in parts.others:
            self._copy(name)
        for name in (*parts.pickles, *parts.others):
            _link(self.source.root / name, self.old / name)
        return parts

    def _liken(self, name: str) -> None:
        place = self.made / name
        if place.suffix in SETTINGS_ENDS:
            self._copy(name)
        elif place.suffix == ".safetensors" or place.name == PICKLE:
            place.parent.mkdir(exist_ok=True)
            place.with_name(WEIGHTS if place.name == PICKLE else place.name).write_bytes(EMPTY_WEIGHTS)

    def _copy(self, name: str) -> None:
        if self.is_stopped():
            raise Interrupted
        place = self.made / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.source.root / name, place)

    def convert(self, pickles: Iterable[str]) -> tuple[int, bool]:
        """Each pickle's weights as safetensors in `made`: how many tensors, and whether without any network."""
        replies = []
        for name in pickles:
            self.source.check_fetched(name)
            pickled, weights = self.source.root / name, self.child / WEIGHTS
            replies.append(self._run(pickled.stat().st_size, "weights", pickled=str(pickled), weights=str(weights)))
            weights.replace(self.made / PurePosixPath(name).with_name(WEIGHTS))
        judge(self.made)  # as every migration will: what a child wrote is believed no more than the source
        return sum(reply["tensors"] for reply in replies), all(reply["has_namespace"] for reply in replies)

    def compare(self, parts: _Parts) -> float:
        """The lowest cosine between both directories' vectors. Raise ConfigurationError when it is too low."""
        size = sum((self.source.root / name).stat().st_size for name in (*parts.pickles, *parts.others))
        old, new = (
            self._vectors(job, directory, size)
            for job, directory in (("old-vectors", self.old), ("new-vectors", self.made))
        )
        cosine = lowest_cosine(old, new)
        if not cosine >= LOWEST_COSINE:  # NaN is refused too
            self.source.refuse(f"converted, it gives other vectors: the lowest cosine is {cosine:.6f}", _SAVE_AGAIN)
        return cosine

    def _vectors(self, job: str, directory: Path, size: int) -> Vector:
        place = self.child / f"{job}.npy"
        self._run(size, job, directory=str(directory), texts=sample_texts(), vectors=str(place))
        vectors: Vector = np.load(place, allow_pickle=False)
        return vectors

    def _run(self, size: int, job: str, **arguments: Any) -> dict[str, Any]:
        """A job on files of `size` bytes; the factor leaves room for another number format and a copy."""
        memory, file = LIBRARIES_BYTES + 4 * size, 2 * size + 2**26
        return Confinement(self.child, memory, file, self.is_stopped).run(job, **arguments)


def _check_places(source: Directory, destination: Path) -> None:
    if not source.root.is_dir():
        source.refuse("there is no such directory", "name a sentence-transformers directory")
    if os.path.lexists(destination):
        raise ConfigurationError(
            f"{destination} is there already, and nothing is written over it", next_step="name a new directory"
        )
    if not destination.parent.is_dir():
        raise ConfigurationError(f"there is no directory {destination.parent}", next_step="make it first")


def _names(directory: Directory) -> list[str]:
    """Files in the directory and in the folders right below it, which is as deep as modules lie."""
    found = [path for pattern in ("*", "*/*") for path in directory.root.glob(pattern)]
    names = (path.relative_to(directory.root).as_posix() for path in found)
    interesting = (name for name in names if Path(name).suffix in {*SETTINGS_ENDS, ".safetensors", ".bin"})
    return sorted(name for name in interesting if directory.has(name))


def _is_weights(name: str) -> bool:
    return PurePosixPath(name).name == WEIGHTS


def _pickle_of(weights: str) -> str:
    return str(PurePosixPath(weights).with_name(PICKLE))


def _link(file: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(file)


def _left_out(root: Path, used: set[str]) -> tuple[str, ...]:
    """Names beside the used files; a folder that holds none of them is named once and not looked into."""
    folders = {str(parent) for name in used for parent in PurePosixPath(name).parents}
    names = []
    for folder in folders:
        for path in (root / folder).iterdir():
            name = path.relative_to(root).as_posix()
            if name not in used and name not in folders:
                names.append(f"{name}/" if path.is_dir() else name)
    return tuple(sorted(names))
