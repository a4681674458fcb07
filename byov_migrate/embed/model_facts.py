"""What a model directory says about itself: dimension, window, prompts. Arithmetic on JSON, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from byov_migrate.config import ModelConfig
from byov_migrate.embed.model_files import ModelFiles, Module
from byov_migrate.errors import ConfigurationError

UNLIMITED = 10**9
_POOLING_FLAGS = ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
# These architectures number positions from pad_token_id + 1, so that many fewer tokens fit than the table has rows;
# one token more and the forward pass dies with an index error.
_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet", "longformer"})


@dataclass(frozen=True)
class ModelFacts:
    """What the files say about the vectors.

    dimension: of a vector; window: tokens read by default, special ones included; longest: tokens that can be read,
    None when the architecture sets no limit; prompts: declared by the directory, used only if configured;
    truncate_dimension: dimensions kept, None for all; excludes_prompt: the prompt's tokens are left out of pooling;
    normalizes: the last module makes unit vectors.
    """

    dimension: int
    window: int
    longest: int | None
    prompts: Mapping[str, str]
    truncate_dimension: int | None
    excludes_prompt: bool
    normalizes: bool


def read_facts(files: ModelFiles) -> ModelFacts:
    """Raise ConfigurationError when the directory does not say its dimension or its window."""
    longest = _longest(files.transformer)
    prompts = files.settings.get("prompts") or {}
    return ModelFacts(
        dimension=_dimension(files),
        window=_window(files, longest),
        longest=longest,
        prompts={str(name): str(text) for name, text in prompts.items() if text},
        truncate_dimension=files.settings.get("truncate_dim"),
        excludes_prompt=any(module.settings.get("include_prompt") is False for module in files.modules),
        normalizes=files.modules[-1].kind == "Normalize",
    )


def effective_window(config: ModelConfig, facts: ModelFacts) -> int:
    """Tokens of a text that are read: `max_tokens`, else the model's own. Raise ConfigurationError beyond its limit."""
    if config.max_tokens is None:
        return facts.window
    if facts.longest is not None and config.max_tokens > facts.longest:
        raise ConfigurationError(
            f"max_tokens = {config.max_tokens}, but the model in {config.path} can read {facts.longest}",
            next_step=f"set max_tokens to at most {facts.longest}, or leave it out",
        )
    return config.max_tokens


def _dimension(files: ModelFiles) -> int:
    width = _count(
        files.transformer.get("hidden_size") or files.transformer.get("dim") or files.transformer.get("d_model")
    )
    for module in files.modules:
        if module.kind == "Pooling":
            width = _count(_first(module.settings, "embedding_dimension", "word_embedding_dimension") or width)
            width *= _pooling_modes(module)
        if module.kind == "Dense":
            width = _count(module.settings.get("out_features"))
    if width == 0:
        raise ConfigurationError(
            f"model directory {files.root}: its files do not say the dimension of its vectors",
            next_step="save the model again with save_pretrained",
        )
    return min(width, files.settings.get("truncate_dim") or width)


def _pooling_modes(module: Module) -> int:
    mode = module.settings.get("pooling_mode")
    if mode is not None:
        return len(mode) if isinstance(mode, list) else 1
    return sum(bool(module.settings.get(f"pooling_mode_{flag}")) for flag in _POOLING_FLAGS) or 1


def _longest(transformer: Mapping[str, Any]) -> int | None:
    positions = _count(_first(transformer, "max_position_embeddings", "n_positions"))
    if positions == 0:
        return None
    if str(transformer.get("model_type")) in _OFFSET_POSITIONS:
        return positions - _count(transformer.get("pad_token_id", 1)) - 1
    return positions


def _window(files: ModelFiles, longest: int | None) -> int:
    """The first of: the loader's own settings, the tokenizer's limit, the architecture's; never above the last."""
    own = files.modules[0].settings
    loading = own.get("processor_kwargs") or own.get("tokenizer_args") or {}
    named = _count(_first(loading, "model_max_length")) or _count(own.get("max_seq_length"))
    limits = [named or _count(files.tokenizer.get("model_max_length")), longest or 0]
    known = [limit for limit in limits if limit > 0]
    if not known:
        raise ConfigurationError(
            f"model directory {files.root}: its files do not say how many tokens it reads",
            next_step="set max_seq_length in sentence_bert_config.json",
        )
    return min(known)


def _first(settings: Mapping[str, Any], *names: str) -> Any:
    return next((settings[name] for name in names if settings.get(name) is not None), None)


def _count(value: Any) -> int:
    """A number that can be one, else 0; 10**30 is how a tokenizer says that it knows no limit."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 < value < UNLIMITED else 0
