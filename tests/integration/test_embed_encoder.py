from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from byov_migrate.config import ModelConfig
from byov_migrate.embed import Encoder, load_encoder
from byov_migrate.embed.network import Networks
from byov_migrate.errors import ConfigurationError, PersonNeeded
from byov_migrate.records import Vector
from tests.models import change_json, make_tiny_model, module_entry, real_model

LONG = "the data team makes work of data and more work for the team " * 12
TEXTS = ["the data team", "a", LONG, "Bake 12 cakes, and eat 3!", "", "the data team", "work " * 62, "work " * 63]


def _load(path: Path, **settings: Any) -> Encoder:
    settings = {"device": "cpu", "dtype": "float32", **settings}
    return load_encoder(ModelConfig(path=path, **settings))


def _model(encoder: Encoder) -> Any:
    [network] = encoder._network._networks
    return network._model


def _plain(path: Path, texts: list[str], prompt: str = "", *, normalize: bool = True) -> Vector:
    """What the library itself gives."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(path), device="cpu", local_files_only=True)
    vectors: Vector = model.encode(
        texts, prompt=prompt or None, normalize_embeddings=normalize, show_progress_bar=False
    )
    return vectors


def _cosines(first: Vector, second: Vector) -> Vector:
    product: Vector = (first * second).sum(axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    return product


def _add_dense(path: Path, weight: Vector) -> None:
    """A Dense module after the pooling: `weight` of shape (outputs, inputs)."""
    entries = [entry for entry in json.loads((path / "modules.json").read_text()) if "Normalize" not in entry["type"]]
    (path / "modules.json").write_text(json.dumps([*entries, module_entry(2, "2_Dense", "Dense")]))
    outputs, inputs = weight.shape
    activation = "torch.nn.modules.linear.Identity"
    change_json(
        path / "2_Dense" / "config.json",
        in_features=inputs,
        out_features=outputs,
        bias=False,
        activation_function=activation,
    )
    save_file({"linear.weight": weight}, path / "2_Dense" / "model.safetensors")


def _break_letter(path: Path, letter: str, value: float) -> None:
    """Give a letter an embedding of `value`, so that only texts with it come out wrong."""
    vocabulary = json.loads((path / "tokenizer.json").read_text())["model"]["vocab"]
    tensors = load_file(path / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"][vocabulary[letter]] = value
    save_file(tensors, path / "model.safetensors")


@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"normalize": False},
        {"layers": 2, "dimension": 48},
    ],
)
def test_vectors_equal_those_of_the_library(tmp_path: Path, variant: dict[str, Any]) -> None:
    """Sorting, batching and padding of our own change nothing, and the rows keep the order of the texts."""
    path = make_tiny_model(tmp_path, **variant)
    encoded = _load(path, batch_tokens=130).encode_documents(TEXTS)
    assert _cosines(encoded.vectors, _plain(path, TEXTS)).min() > 0.9999
    assert encoded.vectors.dtype == np.float32
    assert not encoded.refused


def test_lengths_equal_those_of_the_library_without_normalizing(tmp_path: Path) -> None:
    """`normalize = false` sends what the model gives, to the last digit that float32 keeps."""
    path = make_tiny_model(tmp_path, normalize=False)
    vectors = _load(path, normalize=False).encode_documents(TEXTS).vectors
    assert vectors == pytest.approx(_plain(path, TEXTS, normalize=False), abs=1e-5)


@pytest.mark.parametrize("include_prompt", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
def test_prompts_are_read_as_the_library_reads_them(tmp_path: Path, *, include_prompt: bool, normalize: bool) -> None:
    """Some models leave the prompt out of pooling; the vectors differ."""
    path = make_tiny_model(tmp_path, include_prompt=include_prompt, normalize=normalize)
    encoder = _load(path, document_prompt="data: ", query_prompt="a longer work order: ")
    documents = encoder.encode_documents(TEXTS).vectors
    assert _cosines(documents, _plain(path, TEXTS, "data: ")).min() > 0.9999
    query = encoder.encode_query("the team")
    assert _cosines(query[None], _plain(path, ["the team"], "a longer work order: "))[0] > 0.9999


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pooling", ["pooling_mode_lasttoken", "pooling_mode_cls_token"])
def test_pooling_of_one_token_meets_the_same_token(tmp_path: Path, side: str, pooling: str) -> None:
    """With padding on the wrong side the pooled token is padding."""
    path = make_tiny_model(tmp_path)
    change_json(path / "1_Pooling" / "config.json", **{"pooling_mode_mean_tokens": False, pooling: True})
    change_json(path / "tokenizer_config.json", padding_side=side)
    encoded = _load(path, batch_tokens=2000).encode_documents(TEXTS)  # one batch, padded as the library's
    one_by_one = np.vstack([_plain(path, [text]) for text in TEXTS[:4]])
    assert _cosines(encoded.vectors, _plain(path, TEXTS)).min() > 0.9999
    # alone there is no padding; with left padding BERT's positions shift, in the library as well
    if side == "right":
        assert _cosines(encoded.vectors[:4], one_by_one).min() > 0.9999


def test_modules_after_the_pooling_are_run(tmp_path: Path) -> None:
    """A Dense layer gives the dimension and the vector."""
    path = make_tiny_model(tmp_path)
    _add_dense(path, np.random.default_rng(1).normal(size=(8, 32)).astype(np.float32))
    encoder = _load(path)
    assert encoder.dimension == 8
    assert _cosines(encoder.encode_documents(TEXTS).vectors, _plain(path, TEXTS)).min() > 0.9999


def test_a_dimension_the_author_cut_is_cut(tmp_path: Path) -> None:
    """Matryoshka models keep the first dimensions and normalise after that."""
    path = make_tiny_model(tmp_path)
    change_json(path / "config_sentence_transformers.json", truncate_dim=8)
    vectors = _load(path).encode_documents(TEXTS).vectors
    assert _cosines(vectors, _plain(path, TEXTS)).min() > 0.9999
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-6)


def test_max_tokens_cuts_as_the_library_would(tmp_path: Path) -> None:
    """The setting is the window, special tokens included."""
    path = make_tiny_model(tmp_path)
    encoded = _load(path, max_tokens=16).encode_documents(TEXTS)
    change_json(path / "sentence_bert_config.json", max_seq_length=16)
    assert _cosines(encoded.vectors, _plain(path, TEXTS)).min() > 0.9999


def test_truncated_texts_are_counted(tmp_path: Path) -> None:
    """The report says how many texts were not read to their end; 62 words fit into 64 tokens."""
    encoded = _load(make_tiny_model(tmp_path)).encode_documents(TEXTS)
    assert encoded.truncated == (False, False, True, False, False, False, False, True)


def test_long_texts_can_be_rejected(tmp_path: Path) -> None:
    """The row is told apart, the others are embedded, and the reason holds no text."""
    encoded = _load(make_tiny_model(tmp_path), long_text="reject").encode_documents(TEXTS)
    assert {row: code for row, (code, _) in encoded.refused.items()} == {2: "too-long", 7: "too-long"}
    assert encoded.refused[7][1] == "65 tokens, and the model reads 64"
    assert not encoded.vectors[[2, 7]].any()
    assert encoded.vectors[[0, 1, 3, 4, 5, 6]].any(axis=1).all()
    assert not any(encoded.truncated)


def test_the_mean_of_windows_reads_the_whole_text(tmp_path: Path) -> None:
    """A word beyond the window changes the vector, each window by its number of tokens."""
    path = make_tiny_model(tmp_path)
    encoder = _load(path, long_text="mean")
    beginning, end = "work " * 62, "bake " * 30
    both, first, second, short = encoder.encode_documents([beginning + end, beginning, end, "a"]).vectors
    expected = (62 * first + 60 * second) / 122  # "bake" is two tokens
    assert _cosines(both[None], expected[None])[0] > 0.9999
    assert np.linalg.norm(both) == pytest.approx(1.0, abs=1e-6)
    assert _cosines(short[None], _plain(path, ["a"]))[0] > 0.9999


@pytest.mark.parametrize(("value", "code"), [(float("nan"), "not-finite"), (float("inf"), "not-finite")])
def test_one_bad_vector_does_not_spoil_its_batch(tmp_path: Path, value: float, code: str) -> None:
    """The row is refused with its code; its neighbours are what they were."""
    path = make_tiny_model(tmp_path / "good")
    good = _load(path).encode_documents(["the team", "zzz", "data"])
    _break_letter(path, "z", value)
    encoded = _load(path).encode_documents(["the team", "zzz", "data", "zzz"])
    assert {1: code, 3: code} == {row: found for row, (found, _) in encoded.refused.items()}
    assert not encoded.vectors[[1, 3]].any()
    assert encoded.vectors[[0, 2]] == pytest.approx(good.vectors[[0, 2]], abs=1e-6)


def test_equal_texts_are_embedded_once(tmp_path: Path) -> None:
    """Postings repeat themselves; each repetition costs nothing and has the same vector."""
    encoder = _load(make_tiny_model(tmp_path))
    once, often = encoder.encode_documents(["the team", "data"]), encoder.encode_documents(["the team", "data"] * 50)
    assert once.tokens == often.tokens
    assert (often.vectors == np.tile(once.vectors, (50, 1))).all()


def test_no_texts_give_an_empty_matrix(tmp_path: Path) -> None:
    """A page may hold nothing to embed."""
    encoded = _load(make_tiny_model(tmp_path)).encode_documents([])
    assert encoded.vectors.shape == (0, 32)
    assert (encoded.refused, encoded.truncated, encoded.tokens) == ({}, (), 0)


def test_tokens_are_counted_before_anything_is_cut(tmp_path: Path) -> None:
    """The plan says how much of a text is read."""
    encoder = _load(make_tiny_model(tmp_path), document_prompt="data: ")
    assert encoder.count_tokens(["work " * 100, "work"]) == [104, 5]
    encoded = encoder.encode_documents(["work " * 100, "work"])
    assert (encoded.tokens, encoded.padded_tokens) == (69, 128)


def test_memory_that_runs_out_halves_the_batch_and_goes_on(tmp_path: Path) -> None:
    """A fixed batch size would end the run on the first long texts."""
    import torch

    encoder = _load(make_tiny_model(tmp_path), batch_tokens=1024)
    expected = encoder.encode_documents(TEXTS).vectors
    seen: list[int] = []

    def refuse_large(_module: Any, arguments: tuple[dict[str, Any], ...]) -> None:
        seen.append(arguments[0]["input_ids"].numel())
        if seen[-1] > 150:
            raise torch.OutOfMemoryError("as a full device does")

    hook = _model(encoder).register_forward_pre_hook(refuse_large)
    assert encoder.encode_documents(TEXTS).vectors == pytest.approx(expected, abs=1e-5)
    assert encoder.batch_tokens <= 300
    seen.clear()
    encoder.encode_documents(TEXTS)
    hook.remove()
    assert max(seen) <= 300


def test_several_devices_give_what_one_gives(tmp_path: Path) -> None:
    """Each works on a share of the window; the rows come back in the order of the texts, whoever made them."""
    encoder, other = (_load(make_tiny_model(tmp_path), batch_tokens=130) for _ in range(2))
    expected = encoder.encode_documents(TEXTS)
    seen: list[int] = []
    for number, model in enumerate((_model(encoder), _model(other))):
        model.register_forward_pre_hook(lambda *_, number=number: seen.append(number))
    encoder._network = Networks([*encoder._network._networks, *other._network._networks])
    both = encoder.encode_documents(TEXTS)
    assert both.vectors == pytest.approx(expected.vectors, abs=1e-5)
    assert both.tokens == expected.tokens
    assert set(seen) == {0, 1}


def test_texts_can_be_read_before_the_model_is_free(tmp_path: Path) -> None:
    """The next window is tokenised while this one is embedded."""
    encoder = _load(make_tiny_model(tmp_path))
    assert (encoder.encode_documents(encoder.prepare(TEXTS)).vectors == encoder.encode_documents(TEXTS).vectors).all()


def test_one_text_that_does_not_fit_needs_a_person(tmp_path: Path) -> None:
    """Halving has an end; the message says how many tokens and what helps."""
    import torch

    def refuse(_module: Any, _arguments: Any) -> None:
        raise torch.OutOfMemoryError("as a full device does")

    encoder = _load(make_tiny_model(tmp_path))
    _model(encoder).register_forward_pre_hook(refuse)
    with pytest.raises(PersonNeeded, match="one text of 64 tokens does not fit into the memory of cpu"):
        encoder.encode_documents(TEXTS)


def test_bfloat16_stays_close_to_float32(tmp_path: Path) -> None:
    """Vectors of two machines belong to one index, and they leave as float32 of unit length."""
    path = make_tiny_model(tmp_path)
    half = _load(path, dtype="bfloat16").encode_documents(TEXTS).vectors
    assert half.dtype == np.float32
    assert np.linalg.norm(half, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-6)
    assert _cosines(half, _load(path).encode_documents(TEXTS).vectors).min() > 0.999


class _Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (os.environ["BYOV_TEST_BOMB"],)


def test_nothing_beside_the_model_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pickle that would run code, modules and adapters lie there; the vectors are those of the clean directory."""
    clean, trapped = make_tiny_model(tmp_path / "clean"), make_tiny_model(tmp_path / "trapped")
    monkeypatch.setenv("BYOV_TEST_BOMB", str(tmp_path / "exploded"))
    for name in ("pytorch_model.bin", "adapter_model.bin", "1_Pooling/pytorch_model.bin", "2_Normalize/x.pkl"):
        (trapped / name).parent.mkdir(exist_ok=True)
        (trapped / name).write_bytes(pickle.dumps(_Bomb()))
    for name in ("modeling_bert.py", "tokenization_bert.py", "sitecustomize.py", "1_Pooling/pooling.py"):
        (trapped / name).write_text("import os; os.mkdir(os.environ['BYOV_TEST_BOMB'])")
    monkeypatch.chdir(trapped)
    vectors = _load(trapped).encode_documents(TEXTS).vectors
    assert (vectors == _load(clean).encode_documents(TEXTS).vectors).all()
    assert not (tmp_path / "exploded").exists()


def test_loading_needs_no_network_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The text's machine may have no way out, and stdout belongs to results."""

    def refuse(*_arguments: Any) -> None:
        raise AssertionError("something wanted to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    _load(make_tiny_model(tmp_path)).encode_documents(TEXTS)
    assert capfd.readouterr() == ("", "")
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_weights_that_do_not_fit_their_settings_are_refused(tmp_path: Path) -> None:
    """Layers that are missing would be filled with random numbers."""
    path = make_tiny_model(tmp_path)
    change_json(path / "config.json", num_hidden_layers=2)
    with pytest.raises(ConfigurationError, match="lacks weights"):
        _load(path)


def test_weights_that_no_vector_needs_may_be_missing(tmp_path: Path) -> None:
    """Many models are saved without the pooler that nothing reads."""
    path = make_tiny_model(tmp_path)
    tensors = load_file(path / "model.safetensors")
    save_file({name: tensors[name] for name in tensors if "pooler" not in name}, path / "model.safetensors")
    assert _cosines(_load(path).encode_documents(TEXTS).vectors, _plain(path, TEXTS)).min() > 0.9999


def test_a_dimension_that_is_not_what_comes_out_is_refused(tmp_path: Path) -> None:
    """Before an index of the wrong dimension is created."""
    path = make_tiny_model(tmp_path)
    change_json(path / "1_Pooling" / "config.json", word_embedding_dimension=48)
    with pytest.raises(ConfigurationError, match="says 48 dimensions and gives 32"):
        _load(path)


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_model_that_gives_nothing_usable_is_refused(tmp_path: Path, value: float) -> None:
    """Zeros or NaN for a plain sentence mean broken weights, not a broken row."""
    path = make_tiny_model(tmp_path)
    _add_dense(path, np.full((8, 32), value, dtype=np.float32))
    with pytest.raises(ConfigurationError, match="no usable vector"):
        _load(path)


def test_a_prompt_as_long_as_the_window_is_refused(tmp_path: Path) -> None:
    """Every text would be cut away entirely, and all vectors would be equal."""
    with pytest.raises(ConfigurationError, match="the prompt alone"):
        _load(make_tiny_model(tmp_path), max_tokens=8, document_prompt="a prompt of very many words: ")


def test_describing_a_model_needs_no_torch(tmp_path: Path) -> None:
    """`model show` on a machine without a GPU answers at once."""
    path = make_tiny_model(tmp_path)
    code = (
        "import sys; from pathlib import Path; from byov_migrate.config import ModelConfig;"
        "from byov_migrate.embed import describe;"
        f"print(describe(ModelConfig(path=Path({str(path)!r}), device='cpu')).dimension, 'torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["32", "False"]


def test_the_description_agrees_with_the_loaded_model(tmp_path: Path) -> None:
    """The digest that is signed in `plan` is the one that stands in the records."""
    from byov_migrate.embed import describe

    config = ModelConfig(path=make_tiny_model(tmp_path), device="cpu", document_prompt="data: ", long_text="mean")
    described, loaded = describe(config), load_encoder(config)
    assert not described.refused
    assert (described.fingerprint, described.dimension, described.window) == (
        loaded.fingerprint,
        loaded.dimension,
        loaded.window,
    )
    assert (described.device, described.dtype) == (loaded.device, loaded.dtype)


@pytest.mark.parametrize("prompt", ["", "passage: "])
def test_a_real_model_gives_the_librarys_vectors(prompt: str) -> None:
    """all-MiniLM-L6-v2, texts of one word to far beyond its window."""
    sentence = "remote senior engineer with a strong sense of humour, 40 h/week; salary 70,000 to 90,000 EUR "
    words = (sentence * 60).split()
    texts = [" ".join(words[:length]) for length in (1, 3, 9, 27, 81, 243, 729)]
    encoded = _load(real_model(), document_prompt=prompt).encode_documents(texts)
    assert encoded.vectors.shape == (7, 384)
    assert _cosines(encoded.vectors, _plain(real_model(), texts, prompt)).min() > 0.9999
    assert encoded.truncated == (False, False, False, False, False, True, True)
