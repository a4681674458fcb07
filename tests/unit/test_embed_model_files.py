from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from byov_migrate.embed.model_facts import read_facts
from byov_migrate.embed.model_files import judge, staged
from byov_migrate.errors import ConfigurationError
from tests.models import change_json, make_tiny_model, module_entry

Change = Callable[[Path], object]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


def _set_module(directory: Path, **values: object) -> None:
    """Change the entry of the pooling module in modules.json."""
    entries = json.loads((directory / "modules.json").read_text())
    entries[1].update(values)
    (directory / "modules.json").write_text(json.dumps(entries))


def _only_pickle(path: Path) -> None:
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


def _link_outside(path: Path) -> None:
    elsewhere = path.parent / "elsewhere.safetensors"
    (path / "model.safetensors").rename(elsewhere)
    (path / "model.safetensors").symlink_to(elsewhere)


def _cut_weights(path: Path) -> None:
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _endless_header(path: Path) -> None:
    (path / "model.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")


def _index_of(*names: str) -> Change:
    def change(path: Path) -> None:
        (path / "model.safetensors").unlink()
        placed = {f"tensor{number}": name for number, name in enumerate(names)}
        (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))

    return change


def _dense_with_pickle(path: Path) -> None:
    entries = json.loads((path / "modules.json").read_text())
    (path / "modules.json").write_text(json.dumps([*entries, module_entry(3, "3_Dense", "Dense")]))
    change_json(path / "3_Dense" / "config.json", in_features=32, out_features=8)
    (path / "3_Dense" / "pytorch_model.bin").write_bytes(b"pickle")


def _foreign_activation(path: Path) -> None:
    _dense_with_pickle(path)
    change_json(path / "3_Dense" / "config.json", activation_function="os.system")


def _setting(name: str, **values: object) -> Change:
    return lambda path: change_json(path / name, **values)


HOSTILE: dict[str, tuple[Change, str]] = {
    "no modules": (lambda path: (path / "modules.json").unlink(), "no modules.json"),
    "modules empty": (lambda path: (path / "modules.json").write_text("[]"), "lists no modules"),
    "modules no json": (lambda path: (path / "modules.json").write_text("[{"), "not valid JSON"),
    "modules too deep": (lambda path: (path / "modules.json").write_text("[" * 10**6), "not valid JSON"),
    "no config": (lambda path: (path / "config.json").unlink(), "no config.json"),
    "config no object": (lambda path: (path / "config.json").write_text("[]"), "no JSON object"),
    "module of its own": (lambda path: _set_module(path, type="modeling_own.Pooling"), "code of the model's own"),
    "module by prefix": (lambda path: _set_module(path, type="sentence_transformers_own.Pooling"), "code of the"),
    "router": (lambda path: _set_module(path, type="sentence_transformers.models.Router"), "module Router"),
    "two transformers": (
        lambda path: _set_module(path, type="sentence_transformers.models.Transformer"),
        "modules are",
    ),
    "absolute path": (lambda path: _set_module(path, path="/etc"), "path '/etc'"),
    "path upwards": (lambda path: _set_module(path, path="../other"), "path '../other'"),
    "path no text": (lambda path: _set_module(path, path=7), "path 7"),
    "code in config": (_setting("config.json", auto_map={"AutoModel": "own.Model"}), "code of its own"),
    "code in part": (_setting("config.json", text_config={"auto_map": {"AutoModel": "own.Model"}}), "code of its own"),
    "code in tokenizer": (
        _setting("tokenizer_config.json", auto_map={"AutoTokenizer": ["own.T", None]}),
        "code of its",
    ),
    "kernel": (_setting("config.json", attn_implementation="someone/kernel"), "kernel from a hub"),
    "kernel in args": (
        _setting("sentence_bert_config.json", model_args={"attn_implementation": "someone/kernel"}),
        "kernel from a hub",
    ),
    "other file in args": (_setting("sentence_bert_config.json", model_args={"gguf_file": "x.gguf"}), "sets gguf_file"),
    "tokenizer elsewhere": (
        _setting("sentence_bert_config.json", tokenizer_name_or_path="someone/model"),
        "tokenizer is",
    ),
    "images": (_setting("sentence_bert_config.json", modality_config={"image": {"method": "forward"}}), "reads image"),
    "other task": (_setting("sentence_bert_config.json", transformer_task="fill-mask"), "fill-mask"),
    "quantised": (_setting("config.json", quantization_config={"bits": 4}), "quantization_config"),
    "weights elsewhere": (_setting("config.json", transformers_weights="../x.safetensors"), "transformers_weights"),
    "adapter": (_setting("adapter_config.json", base_model_name_or_path="someone/model"), "adapter"),
    "sparse": (_setting("config_sentence_transformers.json", model_type="SparseEncoder"), "SparseEncoder"),
    "only pickle": (_only_pickle, "pytorch_model.bin, a pickle"),
    "dense pickle": (_dense_with_pickle, "3_Dense/pytorch_model.bin, a pickle"),
    "no weights": (lambda path: (path / "model.safetensors").unlink(), "no model.safetensors"),
    "link outside": (_link_outside, "leads outside"),
    "lfs weights": (lambda path: (path / "model.safetensors").write_text(POINTER), "git-lfs pointer"),
    "lfs tokenizer": (lambda path: (path / "tokenizer.json").write_text(POINTER), "git-lfs pointer"),
    "lfs config": (lambda path: (path / "config.json").write_text(POINTER), "git-lfs pointer"),
    "cut weights": (_cut_weights, "incomplete"),
    "empty weights": (lambda path: (path / "model.safetensors").write_bytes(b""), "incomplete"),
    "endless header": (_endless_header, "incomplete"),
    "no tokenizer": (lambda path: (path / "tokenizer.json").unlink(), "no tokenizer.json"),
    "shard missing": (_index_of("model-1.safetensors"), "is missing"),
    "shard upwards": (_index_of("../model.safetensors"), "names '../model.safetensors'"),
    "shard pickle": (_index_of("pytorch_model.bin"), "names 'pytorch_model.bin'"),
    "no shards": (_index_of(), "lists no files"),
    "activation": (_foreign_activation, "activation"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_or_broken_directory_is_refused(tmp_path: Path, name: str) -> None:
    """Before anything of it is loaded, with the directory, the finding and a fix."""
    change, finding = HOSTILE[name]
    path = make_tiny_model(tmp_path / "model")
    change(path)
    with pytest.raises(ConfigurationError) as caught:
        judge(path)
    assert finding in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.next_step


def test_the_fix_for_pickle_is_a_command(tmp_path: Path) -> None:
    """Whoever meets it can go on."""
    path = make_tiny_model(tmp_path)
    _only_pickle(path)
    with pytest.raises(ConfigurationError) as caught:
        judge(path)
    assert caught.value.next_step == f"byov-migrate model convert {path} {path}-safetensors"


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A misspelt path must not be taken for the name of a model on a hub."""
    with pytest.raises(ConfigurationError, match="no such directory"):
        judge(tmp_path / "absent")


def test_what_is_beside_the_model_is_ignored_and_named(tmp_path: Path) -> None:
    """A spare pickle, other formats and code are harmless as long as nothing loads them."""
    path = make_tiny_model(tmp_path)
    for name in ("pytorch_model.bin", "modeling_own.py", "README.md", "vocab.txt", "1_Pooling/notes.txt"):
        (path / name).write_bytes(b"spare")
    (path / "onnx" / "deep").mkdir(parents=True)
    (path / "onnx" / "deep" / "model.onnx").write_bytes(b"spare")
    files = judge(path)
    ignored = ("1_Pooling/notes.txt", "README.md", "modeling_own.py", "onnx/", "pytorch_model.bin", "vocab.txt")
    assert files.ignored == ignored
    assert not {str(used) for used in files.used} & {*ignored}


def test_the_loader_is_shown_the_used_files_alone(tmp_path: Path) -> None:
    """What was not judged cannot be loaded, whatever the library looks for."""
    path = make_tiny_model(tmp_path / "model")
    (path / "pytorch_model.bin").write_bytes(b"spare")
    files = judge(path)
    with staged(files) as directory:
        shown = {entry.relative_to(directory) for entry in directory.rglob("*") if entry.is_file()}
    assert shown == {*files.used}
    assert not directory.exists()


def test_a_link_inside_the_directory_is_followed(tmp_path: Path) -> None:
    """Links are how some tools lay out a model; only where they lead matters."""
    path = make_tiny_model(tmp_path)
    (path / "model.safetensors").rename(path / "weights-of-may")
    (path / "model.safetensors").symlink_to("weights-of-may")
    assert Path("model.safetensors") in judge(path).used


def test_shards_are_found_through_their_index(tmp_path: Path) -> None:
    """Large models come in parts; each part is judged and hashed."""
    path = make_tiny_model(tmp_path)
    tensors = load_file(path / "model.safetensors")
    placed = {name: f"model-{number % 2}.safetensors" for number, name in enumerate(tensors)}
    for shard in {*placed.values()}:
        save_file({name: tensors[name] for name in tensors if placed[name] == shard}, path / shard)
    (path / "model.safetensors").unlink()
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    used = {str(name) for name in judge(path).used}
    assert {"model-0.safetensors", "model-1.safetensors", "model.safetensors.index.json"} <= used


def test_an_older_layout_with_a_folder_for_the_transformer_is_read(tmp_path: Path) -> None:
    """The transformer's files may lie in a folder of their own."""
    path = make_tiny_model(tmp_path)
    inner = path / "0_Transformer"
    inner.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (path / name).rename(inner / name)
    entries = json.loads((path / "modules.json").read_text())
    entries[0]["path"] = "0_Transformer"
    (path / "modules.json").write_text(json.dumps(entries))
    assert Path("0_Transformer/model.safetensors") in judge(path).used


@pytest.mark.parametrize("value", [None, 0, -1, "x", [], [1], {}, {"text": None}, True, 10**400, float("inf")])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("config.json", "hidden_size"),
        ("config.json", "max_position_embeddings"),
        ("config.json", "model_type"),
        ("tokenizer_config.json", "model_max_length"),
        ("sentence_bert_config.json", "max_seq_length"),
        ("sentence_bert_config.json", "modality_config"),
        ("sentence_bert_config.json", "model_args"),
        ("config_sentence_transformers.json", "prompts"),
        ("config_sentence_transformers.json", "truncate_dim"),
        ("1_Pooling/config.json", "embedding_dimension"),
    ],
)
def test_a_value_of_the_wrong_kind_is_no_bug_of_ours(tmp_path: Path, name: str, key: str, value: object) -> None:
    """A directory is read or refused with a sentence, whatever stands in its settings."""
    path = make_tiny_model(tmp_path)
    content = json.loads((path / name).read_text()) if (path / name).exists() else {}
    (path / name).write_text(json.dumps({**content, key: value}))
    try:
        facts = read_facts(judge(path))
    except ConfigurationError:
        return
    assert facts.dimension > 0
    assert facts.window > 0
