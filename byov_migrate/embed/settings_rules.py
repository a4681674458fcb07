"""Settings inside a model directory that would run code, fetch something, or change what a text means to the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byov_migrate.embed.directory import Directory

_LOADING_GROUPS = ("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs")
_LOADING_KEYS = frozenset(
    {"torch_dtype", "dtype", "attn_implementation", "add_pooling_layer", "model_max_length", "max_length"}
    | {"padding_side", "truncation_side", "use_fast", "do_lower_case", "trust_remote_code", "use_cache"}
)
_TEXT_ONLY = "use a model that reads plain text"


def check_root_settings(directory: Directory, settings: Mapping[str, Any]) -> None:
    """Refuse what is no dense text encoder."""
    kind = settings.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        directory.refuse(f"it is a {kind}, which gives no single vector for a text", "use a SentenceTransformer")
    dimension = settings.get("truncate_dim")
    if dimension is not None and not _is_count(dimension):
        directory.refuse(f"config_sentence_transformers.json: truncate_dim = {dimension!r}", "save the model again")
    directory.object_under(settings, "prompts")


def check_transformer(directory: Directory, settings: Mapping[str, Any]) -> None:
    """Judge the transformer module's own settings and the files beside it that change what is loaded."""
    if settings.get("transformer_task", "feature-extraction") != "feature-extraction":
        directory.refuse(f"its task is {settings['transformer_task']!r}", _TEXT_ONLY)
    if settings.get("tokenizer_name_or_path"):
        directory.refuse("its tokenizer is named by tokenizer_name_or_path and not in it", "save the model again")
    if settings.get("processing_kwargs"):
        directory.refuse("processing_kwargs are set, which are not supported", _TEXT_ONLY)
    modalities = directory.object_under(settings, "modality_config") or {"text": {"method": "forward"}}
    if set(modalities) != {"text"} or directory.object_under(modalities, "text").get("method") != "forward":
        directory.refuse(f"it reads {', '.join(modalities)} and not just plain text", _TEXT_ONLY)
    for group in _LOADING_GROUPS:
        _check_loading(directory, group, directory.object_under(settings, group))


def _check_loading(directory: Directory, group: str, given: Mapping[str, Any]) -> None:
    unknown = sorted(set(given) - _LOADING_KEYS)
    if unknown:
        directory.refuse(f"{group} sets {', '.join(unknown)}, which changes what is loaded", f"remove {group}")
    _check_attention(directory, given)


def check_transformer_config(directory: Directory, base: str, config: Mapping[str, Any]) -> None:
    """Judge config.json: no code, no adapter, no quantised weights, nothing fetched."""
    if directory.has(f"{base}/adapter_config.json" if base else "adapter_config.json"):
        directory.refuse(
            "it holds an adapter (adapter_config.json) whose base model lies elsewhere",
            "merge it first: model.transformers_model.merge_and_unload(), then save_pretrained",
        )
    if holds_key(config, "auto_map"):
        directory.refuse(
            "config.json has auto_map: the model brings code of its own",
            "use a model whose architecture is part of transformers; code from a model directory is never run",
        )
    for key in ("quantization_config", "transformers_weights"):
        if config.get(key):
            directory.refuse(f"config.json sets {key}, which is not supported", "save the model with plain weights")
    _check_attention(directory, config)


def _check_attention(directory: Directory, settings: Mapping[str, Any]) -> None:
    chosen = [settings.get(key) for key in ("attn_implementation", "_attn_implementation")]
    if any("/" in str(value) for value in chosen if value):
        directory.refuse("attn_implementation names a kernel from a hub, which is code", "remove attn_implementation")


def check_tokenizer(directory: Directory, settings: Mapping[str, Any]) -> None:
    """Refuse a tokenizer that brings code of its own."""
    if holds_key(settings, "auto_map"):
        directory.refuse(
            "tokenizer_config.json has auto_map: the tokenizer brings code of its own",
            "save it as a fast tokenizer (tokenizer.json) of a class that is part of transformers",
        )


def check_module(directory: Directory, kind: str, settings: Mapping[str, Any]) -> None:
    """Refuse an activation function that the loader would silently replace by another."""
    activation = settings.get("activation_function")
    if kind == "Dense" and activation is not None and not str(activation).startswith("torch.nn."):
        directory.refuse(f"a Dense module's activation is {activation!r}", "only activations of torch.nn can be loaded")


def holds_key(content: Any, key: str) -> bool:
    """Whether the key stands anywhere in nested JSON with a value that is not empty."""
    if isinstance(content, Mapping):
        return bool(content.get(key)) or any(holds_key(value, key) for value in content.values())
    return isinstance(content, list) and any(holds_key(value, key) for value in content)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
