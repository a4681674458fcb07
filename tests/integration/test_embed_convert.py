from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from byov_migrate.config import ModelConfig
from byov_migrate.embed import load_encoder
from byov_migrate.embed.convert import convert_directory
from byov_migrate.errors import ConfigurationError
from tests.models import change_json, make_tiny_model, module_entry

COMMAND = str(Path(sys.executable).with_name("byov-migrate"))


def _to_pickle(weights: Path, **more: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Replace a safetensors file by the pickle that torch.save makes of the same tensors; return them."""
    import torch

    tensors: dict[str, np.ndarray[Any, Any]] = load_file(weights)
    torch.save({name: torch.from_numpy(tensor) for name, tensor in tensors.items()} | more, _pickle(weights.parent))
    weights.unlink()
    return tensors


def _pickle(folder: Path) -> Path:
    return folder / "pytorch_model.bin"


def _older_model(path: Path, **more: Any) -> Path:
    """A tiny model as an older library saved it; `more` goes into the pickle beside the weights."""
    make_tiny_model(path)
    _to_pickle(path / "model.safetensors", **more)
    return path


def _add_dense_pickle(path: Path) -> None:
    """A Dense module after the pooling, its weights a pickle too."""
    import torch

    entries = [entry for entry in json.loads((path / "modules.json").read_text()) if "Normalize" not in entry["type"]]
    (path / "modules.json").write_text(json.dumps([*entries, module_entry(2, "2_Dense", "Dense")]))
    sizes = {"in_features": 32, "out_features": 8, "bias": False}
    change_json(path / "2_Dense" / "config.json", activation_function="torch.nn.modules.linear.Identity", **sizes)
    weight = torch.from_numpy(np.random.default_rng(1).normal(size=(8, 32)).astype(np.float32))
    torch.save({"linear.weight": weight}, _pickle(path / "2_Dense"))


def _left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_a_converted_directory_gives_the_old_vectors(tmp_path: Path) -> None:
    """By the command: pickles of two modules, tied weights, a default prompt; what is not loaded is left and named."""
    import torch

    old, new = tmp_path / "old", tmp_path / "new"
    make_tiny_model(old, prompts={"query": "query: "})
    change_json(old / "config_sentence_transformers.json", default_prompt_name="query")
    tensors = _to_pickle(old / "model.safetensors")
    tied = torch.load(_pickle(old), weights_only=True)
    tied["cls.predictions.decoder.weight"] = tied["embeddings.word_embeddings.weight"]
    torch.save(tied, _pickle(old))
    _add_dense_pickle(old)
    for name in ("modeling_own.py", "training_args.bin", "README.md", "checkpoint-5/optimizer.pt"):
        (old / name).parent.mkdir(exist_ok=True)
        (old / name).write_bytes(b"spare")

    done = subprocess.run(
        [COMMAND, "model", "convert", "old", "new", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["lowest_cosine"] >= 0.9999
    assert result["converted"] == ["2_Dense/pytorch_model.bin", "pytorch_model.bin"]
    assert result["left_out"] == ["README.md", "checkpoint-5/", "modeling_own.py", "training_args.bin"]
    files = {path.relative_to(new).as_posix() for path in new.rglob("*") if path.is_file()}
    assert files == {*result["copied"], "model.safetensors", "2_Dense/model.safetensors"}
    stored = load_file(new / "model.safetensors")
    assert all((stored[name] == tensor).all() for name, tensor in tensors.items())
    assert load_encoder(ModelConfig(path=new, device="cpu")).dimension == 8
    assert _left_in(tmp_path) == ["new", "old"]
    assert not (new.stat().st_mode & 0o077) ^ (old.stat().st_mode & 0o077)  # readable to whom the old one is


class _Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self._place),)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torch", "plain"])
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, kind: str) -> None:
    """Hidden beside good weights or alone: nothing of it runs."""
    bomb = _Bomb(tmp_path / "exploded")
    old = _older_model(tmp_path / "old", **{"hidden": bomb} if kind == "torch" else {})
    if kind == "plain":
        _pickle(old).write_bytes(pickle.dumps(bomb))
    with pytest.raises(ConfigurationError) as caught:
        convert_directory(old, tmp_path / "new")
    assert "pytorch_model.bin needs more than weights to be read" in str(caught.value)
    assert kind == "plain" or "(posix.mkdir)" in str(caught.value)
    assert str(old) in str(caught.value)
    assert _left_in(tmp_path) == ["old"]


@pytest.mark.slow
def test_a_training_checkpoint_is_no_set_of_weights(tmp_path: Path) -> None:
    """Numbers and tables beside the tensors would be lost without a word."""
    old = _older_model(tmp_path / "old", epoch=3)
    with pytest.raises(ConfigurationError, match=r"more than weights: 'epoch' \(int\)"):
        convert_directory(old, tmp_path / "new")
    assert _left_in(tmp_path) == ["old"]


@pytest.mark.slow
def test_a_pickle_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    """A broken copy is a finding about the file, not a bug."""
    old = _older_model(tmp_path / "old")
    _pickle(old).write_bytes(_pickle(old).read_bytes()[:-3000])
    with pytest.raises(ConfigurationError, match=r"pytorch_model\.bin cannot be read"):
        convert_directory(old, tmp_path / "new")
    assert _left_in(tmp_path) == ["old"]


@pytest.mark.slow
def test_a_model_that_does_not_do_what_it_says_is_not_published(tmp_path: Path) -> None:
    """The weights convert, the trial fails: no directory stays that a configuration could name."""
    old = _older_model(tmp_path / "old")
    change_json(old / "config.json", num_hidden_layers=2)
    with pytest.raises(ConfigurationError, match=f"{old} lacks weights"):
        convert_directory(old, tmp_path / "new")
    assert _left_in(tmp_path) == ["old"]


def _start_and_wait_for_a_child(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """The command, once it has a child at work, and the child's process number."""
    command = [COMMAND, "model", "convert", "old", "new"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (listed := children.read_text(encoding="ascii").split()):
        time.sleep(0.01)
    return process, int(listed[0])


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="children are found in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_conversion_leaves_no_directory(tmp_path: Path, number: signal.Signals) -> None:
    """Its code says so, its child does not outlive it, and the same command can be given again."""
    _older_model(tmp_path / "old")
    process, child = _start_and_wait_for_a_child(tmp_path)
    time.sleep(0.5)

    process.send_signal(number)
    said = process.communicate(timeout=20)[1]

    is_killed = number == signal.SIGKILL
    assert process.returncode == (-number if is_killed else 128 + number), said
    assert not (tmp_path / "new").exists()
    assert is_killed or _left_in(tmp_path) == ["old"]
    for _ in range(100):
        if not _is_alive(child):
            break
        time.sleep(0.05)
    assert not _is_alive(child)
