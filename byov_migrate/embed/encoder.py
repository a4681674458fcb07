"""Makes an Encoder of a configured model and proves that it does what its files say, before anything is created."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from byov_migrate.config import ModelConfig
from byov_migrate.embed.cores import limit_threads, usable_cores
from byov_migrate.embed.device import Placement, choose_placement, prove_device, read_hardware
from byov_migrate.embed.encoding import Encoded, Encoder, Prompted
from byov_migrate.embed.fingerprint import fingerprint_model
from byov_migrate.embed.library import broken_model, first_line, load_model, require_libraries
from byov_migrate.embed.model_facts import ModelFacts, effective_window, read_facts
from byov_migrate.embed.model_files import ModelFiles, judge
from byov_migrate.embed.network import Layout, Network, Networks
from byov_migrate.embed.tokens import Ids, TextTokenizer
from byov_migrate.errors import MigrationError
from byov_migrate.records import Vector

__all__ = ["Encoded", "Encoder", "load_encoder"]

_SAMPLES = ("A short text, to see how it is read.", "word " * 16)


def load_encoder(config: ModelConfig) -> Encoder:
    """Judge, load and try the model.

    Raise ConfigurationError for a directory that is refused or does not do what it says, PersonNeeded for a GPU that
    is there but unusable or too small.
    """
    files = judge(config.path)
    facts = read_facts(files)
    window = effective_window(config, facts)
    require_libraries()
    placement = choose_placement(config, read_hardware(config.device))
    places = placement.split()
    for place in places:
        prove_device(place)
    limit_threads(usable_cores())
    loaded = load_model(files, places[0], seed=1)
    tokenizer = _tokenizer(files, loaded.model, window)
    document, query = (
        Prompted(prompt, _layout(files, facts, loaded.model, tokenizer, prompt))
        for prompt in (config.document_prompt, config.query_prompt)
    )
    first = Network(loaded.model, places[0].device, placement.batch_tokens)
    rows = [passage.rows[0] for passage in tokenizer.read(_SAMPLES[:1])]
    vectors = _sample(files, facts, first, rows, document.layout)
    if loaded.drew_random:
        twin = _network(files, places[0], seed=2)
        _compare(files, vectors, _sample(files, facts, twin, rows, document.layout))
    network = Networks([first, *(_network(files, place, seed=1) for place in places[1:])])
    fingerprint = fingerprint_model(files, config, dimension=facts.dimension, window=window)
    return Encoder(config, files, facts, placement, fingerprint, tokenizer, network, (document, query))


def _network(files: ModelFiles, placement: Placement, *, seed: int) -> Network:
    return Network(load_model(files, placement, seed=seed).model, placement.device, placement.batch_tokens)


def _tokenizer(files: ModelFiles, model: Any, window: int) -> TextTokenizer:
    backend = getattr(model.tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise broken_model(files, "has no fast tokenizer", "save it with a tokenizer.json")
    model.max_seq_length = window
    # A copy: the model's own tokenizer keeps its settings and may be asked from another thread.
    own = type(backend).from_str(backend.to_str())
    return TextTokenizer(own, window, keeps_end=model.tokenizer.truncation_side == "left")


def _layout(files: ModelFiles, facts: ModelFacts, model: Any, tokenizer: TextTokenizer, prompt: str) -> Layout:
    """How rows with this prompt are laid out; refused when the library would read a text differently from us."""
    samples = [_SAMPLES[0], _SAMPLES[1] * (tokenizer.window // 16 + 1)]
    features = model.preprocess(samples, prompt=prompt or None)
    read = zip(features["input_ids"], features["attention_mask"], strict=True)
    theirs = [ids[mask.bool()].tolist() for ids, mask in read]
    ours = [passage.rows[0] for passage in tokenizer.read(samples, prompt)]
    known = {"input_ids", "attention_mask", "token_type_ids", "modality", "prompt_length"}
    if theirs != ours or not set(features) <= known:
        raise broken_model(
            files, "prepares its texts in a way that is not supported", "use a model that reads plain text"
        )
    prompt_length = features.get("prompt_length") or 0
    if tokenizer.room <= prompt_length:
        raise broken_model(
            files, f"reads {tokenizer.window} tokens, and the prompt alone takes them", "shorten the prompt"
        )
    return Layout(
        pad_id=model.tokenizer.pad_token_id or 0,
        pads_left=model.tokenizer.padding_side == "left",
        segment_ids="token_type_ids" in features,
        prompt_length=prompt_length if facts.excludes_prompt and prompt else None,
        kept_dimensions=facts.truncate_dimension,
    )


def _sample(files: ModelFiles, facts: ModelFacts, network: Network, rows: Sequence[Ids], layout: Layout) -> Vector:
    """The vectors of sample rows; refused unless they are of the dimension that was said, finite and not zero."""
    try:
        vectors, _ = network.run(rows, layout)
    except MigrationError:
        raise
    except Exception as error:  # the model's own arithmetic, whatever it raises
        raise broken_model(files, f"cannot be run: {first_line(error)}") from error
    if vectors.shape[1] != facts.dimension:
        raise broken_model(files, f"says {facts.dimension} dimensions and gives {vectors.shape[1]}")
    if not np.isfinite(vectors).all() or not vectors.any():
        fix = 'set dtype = "float32" for it; if that does not help, its weights are broken'
        raise broken_model(files, "gives no usable vector for a plain sentence", fix)
    return vectors


def _compare(files: ModelFiles, first: Vector, second: Vector) -> None:
    """Refuse weights that are missing: the library fills them with random numbers, others at each loading."""
    if np.abs(first - second).max() > 1e-3 * np.abs(first).max():
        raise broken_model(files, "lacks weights that its settings ask for, and random ones would stand in for them")
