"""Loads a judged model directory, offline, and proves that it does what its files say before anything is created."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from byov_migrate.config import ModelConfig
from byov_migrate.embed.device import Placement, choose_placement, prove_device, read_hardware
from byov_migrate.embed.encoding import Encoded, Encoder, Prompted
from byov_migrate.embed.fingerprint import fingerprint_model
from byov_migrate.embed.model_facts import ModelFacts, effective_window, read_facts
from byov_migrate.embed.model_files import ModelFiles, judge, staged
from byov_migrate.embed.network import Layout, Network
from byov_migrate.embed.tokens import TextTokenizer
from byov_migrate.errors import ConfigurationError, MigrationError

__all__ = ["Encoded", "Encoder", "load_encoder"]

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
_SAMPLES = ("A short text, to see how it is read.", "word " * 16)


def load_encoder(config: ModelConfig) -> Encoder:
    """Judge, load and try the model.

    Raise ConfigurationError for a directory that is refused or does not do what it says, PersonNeeded for a GPU that
    is there but unusable.
    """
    files = judge(config.path)
    facts = read_facts(files)
    window = effective_window(config, facts)
    _require_libraries()
    placement = choose_placement(config, read_hardware(config.device))
    prove_device(placement)
    model = _load(files, placement, window)
    tokenizer = _tokenizer(files, model, window)
    layouts = [
        _layout(files, facts, model, tokenizer, prompt) for prompt in (config.document_prompt, config.query_prompt)
    ]
    network = Network(model, placement.device, placement.batch_tokens)
    _prove_output(files, facts, network, tokenizer, layouts[0].layout)
    fingerprint = fingerprint_model(files, config, dimension=facts.dimension, window=window)
    return Encoder(config, files, facts, placement, fingerprint, tokenizer, network, (layouts[0], layouts[1]))


def _require_libraries() -> None:
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


def _load(files: ModelFiles, placement: Placement, window: int) -> Any:
    import torch
    from sentence_transformers import SentenceTransformer

    try:
        with staged(files) as directory, _quiet():
            model = SentenceTransformer(
                str(directory),
                device=placement.device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"dtype": getattr(torch, placement.dtype), "use_safetensors": True},
            )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever three libraries raise for a directory they cannot read
        raise _broken(files, f"cannot be loaded: {_first_line(error)}") from error
    model.eval()
    model.max_seq_length = window
    return model


def _tokenizer(files: ModelFiles, model: Any, window: int) -> TextTokenizer:
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise _broken(files, "has no fast tokenizer", "save it with a tokenizer.json")
    # A copy: the model's own tokenizer keeps its settings and may be asked from another thread.
    own = type(backend).from_str(backend.to_str())
    return TextTokenizer(own, window, keeps_end=model.tokenizer.truncation_side == "left")


def _layout(files: ModelFiles, facts: ModelFacts, model: Any, tokenizer: TextTokenizer, prompt: str) -> Prompted:
    """How rows with this prompt are laid out; refused when the library would read a text differently from us."""
    samples = [_SAMPLES[0], _SAMPLES[1] * (tokenizer.window // 16 + 1)]
    features = model.preprocess(samples, prompt=prompt or None)
    known = {"input_ids", "attention_mask", "token_type_ids", "modality", "prompt_length"}
    theirs = [
        ids[mask.bool()].tolist() for ids, mask in zip(features["input_ids"], features["attention_mask"], strict=True)
    ]
    ours = [passage.rows[0] for passage in tokenizer.read(samples, prompt)]
    if theirs != ours or not set(features) <= known:
        raise _broken(files, "prepares its texts in a way that is not supported")
    prompt_length = features.get("prompt_length") if facts.excludes_prompt else None
    if tokenizer.room <= (features.get("prompt_length") or 0):
        raise _broken(files, f"reads {tokenizer.window} tokens and the prompt alone takes them", "shorten the prompt")
    return Prompted(
        prompt,
        Layout(
            pad_id=model.tokenizer.pad_token_id or 0,
            pads_left=model.tokenizer.padding_side == "left",
            segment_ids="token_type_ids" in features,
            prompt_length=prompt_length,
            kept_dimensions=facts.truncate_dimension,
        ),
    )


def _prove_output(
    files: ModelFiles, facts: ModelFacts, network: Network, tokenizer: TextTokenizer, layout: Layout
) -> None:
    rows = [passage.rows[0] for passage in tokenizer.read(_SAMPLES[:1])]
    try:
        vectors, _ = network.run(rows, layout)
    except MigrationError:
        raise
    except Exception as error:  # the model's own arithmetic, whatever it raises
        raise _broken(files, f"cannot be run: {_first_line(error)}") from error
    if vectors.shape != (1, facts.dimension):
        raise _broken(files, f"says {facts.dimension} dimensions and gives {vectors.shape[1]}")
    if not np.isfinite(vectors).all() or not vectors.any():
        raise _broken(
            files, "gives no usable vector for a plain sentence", 'try dtype = "float32"; else its weights are broken'
        )


def _broken(files: ModelFiles, finding: str, fix: str = "save it again with save_pretrained") -> ConfigurationError:
    return ConfigurationError(f"the model in {files.root} {finding}", next_step=fix)


def _first_line(error: BaseException) -> str:
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
