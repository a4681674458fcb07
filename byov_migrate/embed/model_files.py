"""Which files of a sentence-transformers directory are loaded, and whether they are harmless.

Only those files are judged and hashed, and only they are shown to the loader (`staged`): safetensors weights, JSON
settings, the tokenizer. Pickle, code and settings that would fetch something are refused; what is merely beside the
model is ignored and named. Nothing here imports torch.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from byov_migrate.embed.directory import Directory
from byov_migrate.embed.settings_rules import (
    check_module,
    check_root_settings,
    check_tokenizer,
    check_transformer,
    check_transformer_config,
)

KNOWN_MODULES = frozenset({"Transformer", "Pooling", "Normalize", "Dense", "LayerNorm", "Dropout"})
MODULES_WITH_WEIGHTS = frozenset({"Dense", "LayerNorm"})
ROOT_SETTINGS = "config_sentence_transformers.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
TRANSFORMER_SETTINGS = (
    "sentence_bert_config.json",
    *(
        f"sentence_{kind}_config.json"
        for kind in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
    ),
)
VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")


@dataclass(frozen=True)
class Module:
    """One entry of modules.json and its settings; kind: the last name of the class; path: relative, "" is the root."""

    kind: str
    path: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class ModelFiles:
    """A directory that was found harmless.

    used: files the loader reads, relative to root, sorted; ignored: everything else, folders with a slash at the end.
    """

    root: Path
    modules: tuple[Module, ...]
    used: tuple[Path, ...]
    ignored: tuple[str, ...]
    settings: Mapping[str, Any]  # config_sentence_transformers.json
    transformer: Mapping[str, Any]  # config.json of the transformer
    tokenizer: Mapping[str, Any]  # tokenizer_config.json


def judge(path: Path) -> ModelFiles:
    """Find the files the loader would use. Raise ConfigurationError with a sentence and its fix for a hostile one."""
    directory = Directory(path.resolve())
    if not directory.root.is_dir():
        directory.refuse("there is no such directory", "set models.NAME.path to a sentence-transformers directory")
    if not directory.has("modules.json"):
        directory.refuse(
            "there is no modules.json, so it is no sentence-transformers directory",
            "save it with SentenceTransformer(...).save_pretrained(DIRECTORY)",
        )
    entries = _read_modules(directory)
    base = entries[0][1]
    settings = _optional_object(directory, ROOT_SETTINGS)
    check_root_settings(directory, settings)
    modules = tuple(_read_module(directory, kind, module_path) for kind, module_path in entries)
    transformer = _read_transformer(directory, base)
    tokenizer = _optional_object(directory, _join(base, "tokenizer_config.json"))
    check_tokenizer(directory, tokenizer)
    used = tuple(sorted({*_files(directory, modules, tokenizer)}))
    return ModelFiles(
        directory.root,
        modules,
        tuple(map(Path, used)),
        _ignored(directory.root, used),
        settings,
        transformer,
        tokenizer,
    )


@contextmanager
def staged(files: ModelFiles) -> Iterator[Path]:
    """A temporary directory in which the used files alone appear, as links: nothing else can be loaded from it."""
    with tempfile.TemporaryDirectory(prefix="byov-model-") as name:
        for relative in files.used:
            place = Path(name, relative)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(files.root / relative)
        yield Path(name)


def _read_modules(directory: Directory) -> list[tuple[str, str]]:
    """Kind and path of each module, in order."""
    listed = directory.read_json("modules.json")
    if not isinstance(listed, list) or not listed or not all(isinstance(entry, dict) for entry in listed):
        directory.refuse("modules.json lists no modules", "save the model again")
    modules = [(_module_kind(directory, entry), _module_path(directory, entry)) for entry in listed]
    kinds = [kind for kind, _ in modules]
    if kinds[0] != "Transformer" or kinds.count("Transformer") != 1:
        directory.refuse(f"its modules are {', '.join(kinds)}", "use a model whose first module is a Transformer")
    return modules


def _module_kind(directory: Directory, entry: Mapping[str, Any]) -> str:
    name = str(entry.get("type", ""))
    kind = name.rpartition(".")[2]
    if not name.startswith("sentence_transformers."):
        directory.refuse(
            f"modules.json names {name!r}, code of the model's own",
            "use a model made of sentence_transformers modules; code from a model directory is never run",
        )
    if kind not in KNOWN_MODULES:
        directory.refuse(
            f"modules.json names the module {kind}", f"modules that can be loaded: {', '.join(sorted(KNOWN_MODULES))}"
        )
    return kind


def _module_path(directory: Directory, entry: Mapping[str, Any]) -> str:
    given = entry.get("path", "")
    path = PurePosixPath(given) if isinstance(given, str) else PurePosixPath("/")
    if path.is_absolute() or ".." in path.parts or "\\" in str(given):
        directory.refuse(
            f"modules.json holds the path {given!r}", "paths must stay inside the directory; save it again"
        )
    return "" if path == PurePosixPath(".") else str(path)


def _read_module(directory: Directory, kind: str, path: str) -> Module:
    if kind == "Transformer":
        settings = next((directory.read_object(name) for name in _settings_names(directory, path)), {})
        check_transformer(directory, settings)
    else:
        settings = _optional_object(directory, _join(path, "config.json"))
        check_module(directory, kind, settings)
    return Module(kind, path, settings)


def _settings_names(directory: Directory, base: str) -> Iterator[str]:
    return (name for name in (_join(base, name) for name in TRANSFORMER_SETTINGS) if directory.has(name))


def _read_transformer(directory: Directory, base: str) -> dict[str, Any]:
    name = _join(base, "config.json")
    if not directory.has(name):
        directory.refuse(f"there is no {name}", "save the model again with save_pretrained")
    config = directory.read_object(name)
    check_transformer_config(directory, base, config)
    return config


def _files(directory: Directory, modules: tuple[Module, ...], tokenizer: Mapping[str, Any]) -> Iterator[str]:
    yield "modules.json"
    if directory.has(ROOT_SETTINGS):
        yield ROOT_SETTINGS
    for module in modules:
        if directory.has(name := _join(module.path, "config.json")):
            yield name
        if module.kind == "Transformer":
            yield from list(_settings_names(directory, module.path))[:1]
            yield from _tokenizer_files(directory, module.path, tokenizer)
        if module.kind == "Transformer" or module.kind in MODULES_WITH_WEIGHTS:
            yield from _weights(directory, module)


def _tokenizer_files(directory: Directory, base: str, settings: Mapping[str, Any]) -> list[str]:
    names = ["tokenizer_config.json"]
    if "added_tokens_decoder" not in settings:  # the loader then looks into the two older files
        names += ["special_tokens_map.json", "added_tokens.json"]
    names += ["tokenizer.json"] if directory.has(_join(base, "tokenizer.json")) else VOCABULARIES
    found = [name for name in (_join(base, name) for name in names) if directory.has(name)]
    if not {_join(base, name) for name in ("tokenizer.json", *VOCABULARIES)} & {*found}:
        directory.refuse("there is no tokenizer.json and no vocabulary", "save the model again with save_pretrained")
    for name in found:
        directory.check_fetched(name)
    return found


def _weights(directory: Directory, module: Module) -> list[str]:
    """The safetensors files of a module, through the index when they are in shards."""
    single, index = _join(module.path, WEIGHTS), _join(module.path, WEIGHTS_INDEX)
    if directory.has(single):
        directory.check_weights(single)
        return [single]
    if module.kind == "Transformer" and directory.has(index):
        return [index, *_shards(directory, module.path, index)]
    return _refuse_without_weights(directory, module.path)


def _shards(directory: Directory, base: str, index: str) -> list[str]:
    placed = directory.read_object(index).get("weight_map")
    names = sorted({*map(str, placed.values())}) if isinstance(placed, dict) else []
    if not names:
        directory.refuse(f"{index} lists no files", "save the model again with save_pretrained")
    for name in names:
        if "/" in name or "\\" in name or not name.endswith(".safetensors"):
            directory.refuse(f"{index} names {name!r}", "shards must be safetensors files beside their index")
        if not directory.has(_join(base, name)):
            directory.refuse(f"{_join(base, name)} is missing, {index} names it", "copy the file again")
        directory.check_weights(_join(base, name))
    return [_join(base, name) for name in names]


def _refuse_without_weights(directory: Directory, base: str) -> NoReturn:
    place = directory.root / base
    pickles = sorted(path.name for end in ("*.bin", "*.pt", "*.pkl", "*.ckpt") for path in place.glob(end))
    if pickles:
        directory.refuse(
            f"the only weights are {_join(base, pickles[0])}, a pickle, which can run code when it is loaded",
            f"byov-migrate model convert {directory.root} {directory.root}-safetensors",
        )
    directory.refuse(f"there is no {_join(base, WEIGHTS)}", "save the model again with save_pretrained")


def _ignored(root: Path, used: tuple[str, ...] | list[str]) -> tuple[str, ...]:
    """Names beside the used files; a folder that holds none of them is named once and not looked into."""
    folders = {str(parent) for name in used for parent in PurePosixPath(name).parents}
    names = []
    for folder in sorted(folders):
        for entry in os.scandir(root / folder):
            name = _join("" if folder == "." else folder, entry.name)
            if name not in folders and name not in used:
                names.append(f"{name}/" if entry.is_dir() else name)
    return tuple(sorted(names))


def _optional_object(directory: Directory, name: str) -> dict[str, Any]:
    return directory.read_object(name) if directory.has(name) else {}


def _join(base: str, name: str) -> str:
    return f"{base}/{name}" if base else name
