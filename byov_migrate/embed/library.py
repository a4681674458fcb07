"""The libraries that load and run a model, kept offline and quiet."""

from __future__ import annotations

import ctypes
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from byov_migrate.embed.device import Placement
from byov_migrate.embed.model_files import ModelFiles, staged
from byov_migrate.errors import ConfigurationError, PersonNeeded

# Batches are cut to the exact length of their texts, so there are hundreds of shapes; by default oneDNN, and torch
# above it, keep what they made for a thousand of them, and memory grows for the whole run.
KERNEL_CACHE = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16", "LRU_CACHE_CAPACITY": "128"}
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@dataclass(frozen=True)
class Loaded:
    """A SentenceTransformer in evaluation mode. drew_random: numbers were drawn, perhaps for weights it lacks."""

    model: Any
    drew_random: bool


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can: blocks of ever new sizes leave holes behind."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def require_libraries() -> None:
    """Import them, offline. Raise ConfigurationError with the command that installs them."""
    os.environ.update({**KERNEL_CACHE, **os.environ})
    os.environ.update(OFFLINE)  # before the import: huggingface_hub reads them once, when it is imported
    try:
        with _quiet():
            import sentence_transformers
    except ImportError as error:
        raise ConfigurationError(
            f"the libraries that run a model are not installed ({error.name or error})",
            next_step="pip install 'byov-migrate[model]'",
        ) from error
    del sentence_transformers


def load_model(files: ModelFiles, placement: Placement, *, seed: int) -> Loaded:
    """Load from the judged files alone; weights that are missing come from `seed`.

    Raise ConfigurationError for what the library cannot read, PersonNeeded when the device is too small.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        before = torch.default_generator.manual_seed(seed).get_state()
        try:
            with staged(files) as directory, _quiet():
                model = _construct(str(directory), placement)
        except torch.OutOfMemoryError as error:
            raise PersonNeeded(
                f"the model in {files.root} does not fit into the memory of {placement.device}",
                next_step='free the device, or set device = "cpu" for this model',
            ) from error
        except Exception as error:  # whatever three libraries raise for a directory they cannot read
            raise broken_model(files, f"cannot be loaded: {first_line(error)}") from error
        return Loaded(model, not torch.equal(before, torch.get_rng_state()))


def _construct(directory: str, placement: Placement) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        directory,
        device=placement.device,
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"dtype": getattr(torch, placement.dtype), "use_safetensors": True},
    )
    return model.eval()


def broken_model(
    files: ModelFiles, finding: str, fix: str = "save it again with save_pretrained"
) -> ConfigurationError:
    """The error for a model that does not do what its files say."""
    return ConfigurationError(f"the model in {files.root} {finding}", next_step=fix)


def first_line(error: BaseException) -> str:
    """What a library's error says first, without its advice."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings, log lines or progress bars of the libraries, on any stream; their settings return afterwards."""
    names = ("sentence_transformers", "transformers", "huggingface_hub", "torch")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), _no_progress_bars():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from transformers.utils import logging as bars

    hide: Callable[[], None] = bars.disable_progress_bar
    show: Callable[[], None] = bars.enable_progress_bar
    were_shown = bars.is_progress_bar_enabled()
    hide()
    try:
        yield
    finally:
        if were_shown:
            show()
