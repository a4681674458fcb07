from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from byov_migrate.config import ModelConfig
from byov_migrate.embed.description import describe
from byov_migrate.embed.fingerprint import combine
from tests.models import change_json, make_tiny_model


def _fingerprint(path: Path, **settings: Any) -> str | None:
    return describe(ModelConfig(path=path, device="cpu", **settings)).fingerprint


def test_the_format_is_golden() -> None:
    """It stands in every record: lines of digest and path in the order of UTF-8, then compact sorted JSON."""
    digests = {"b.json": "bb" * 32, "a/ü.json": "aa" * 32, "a/z.json": "cc" * 32}
    settings: dict[str, str | int | bool] = {
        "normalize": True,
        "max_tokens": 256,
        "long_text": "truncate",
        "document_prompt": "ü: ",
        "dimension": 384,
    }
    # printf of the lines, in the order z, ü, b, and the JSON, through sha256sum
    assert combine(digests, settings) == "92cd3dac28e5f320a78e48eb3c07a5ccbb505a654249183fd2677bf50a57c0ec"


@pytest.mark.parametrize(
    "settings",
    [
        {"document_prompt": "passage: "},
        {"max_tokens": 32},
        {"normalize": False},
        {"long_text": "mean"},
    ],
)
def test_a_setting_that_changes_vectors_changes_it(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Otherwise one index would hold two vector spaces."""
    path = make_tiny_model(tmp_path)
    assert _fingerprint(path) != _fingerprint(path, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"query_prompt": "query: "},
        {"dtype": "float32"},
        {"batch_tokens": 4096},
        {"max_tokens": 64},  # the model's own window, said in words
    ],
)
def test_a_setting_that_keeps_the_meaning_keeps_it(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Otherwise moving to another machine would embed everything again."""
    path = make_tiny_model(tmp_path)
    assert _fingerprint(path) == _fingerprint(path, **settings)


def test_one_changed_bit_of_the_weights_changes_it(tmp_path: Path) -> None:
    """A model that was trained on, under the same name, is another model."""
    before = _fingerprint(make_tiny_model(tmp_path))
    weights = tmp_path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert _fingerprint(tmp_path) != before


def test_files_beside_the_model_do_not_matter(tmp_path: Path) -> None:
    """A README, another format of the same weights or a moved directory is the same model."""
    first, second = make_tiny_model(tmp_path / "first"), make_tiny_model(tmp_path / "second")
    (second / "README.md").write_text("notes")
    (second / "pytorch_model.bin").write_bytes(b"pickle")
    (second / "onnx").mkdir()
    assert _fingerprint(first) == _fingerprint(second)


def test_a_changed_tokenizer_setting_changes_it(tmp_path: Path) -> None:
    """Tokens decide the vector as much as the weights do."""
    before = _fingerprint(make_tiny_model(tmp_path))
    change_json(tmp_path / "tokenizer_config.json", do_lower_case=False)
    assert _fingerprint(tmp_path) != before
