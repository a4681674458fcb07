from __future__ import annotations

import json
from pathlib import Path

import pytest

from byov_migrate.config import ModelConfig
from byov_migrate.embed.model_facts import ModelFacts, effective_window, read_facts
from byov_migrate.embed.model_files import judge
from byov_migrate.errors import ConfigurationError
from tests.models import change_json, make_tiny_model


def _facts(path: Path) -> ModelFacts:
    return read_facts(judge(path))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory of 32 dimensions and 64 tokens."""
    return make_tiny_model(tmp_path, dimension=32, max_tokens=64)


def test_a_plain_model_says_everything(model: Path) -> None:
    """The dimension is needed before an index is created, and torch is not."""
    assert _facts(model) == ModelFacts(32, 64, 64, {}, None, excludes_prompt=False, normalizes=True)


def test_several_ways_of_pooling_widen_the_vector(model: Path) -> None:
    """They are put side by side; an index of the wrong dimension would refuse every vector."""
    change_json(model / "1_Pooling/config.json", pooling_mode_cls_token=True, pooling_mode_max_tokens=True)
    assert _facts(model).dimension == 96


def test_pooling_in_the_newer_spelling_is_read(model: Path) -> None:
    """The library changed the names in its version 6."""
    pooling = {"embedding_dimension": 32, "pooling_mode": ["mean", "cls"]}
    (model / "1_Pooling/config.json").write_text(json.dumps(pooling))
    assert _facts(model).dimension == 64


def test_a_truncated_dimension_is_honoured(model: Path) -> None:
    """The directory says how many dimensions its author keeps."""
    change_json(model / "config_sentence_transformers.json", truncate_dim=8)
    assert _facts(model).dimension == 8


def test_the_smaller_limit_is_the_window(model: Path) -> None:
    """Beyond the position table the forward pass fails with an index error."""
    change_json(model / "sentence_bert_config.json", max_seq_length=40)
    assert _facts(model).window == 40
    change_json(model / "sentence_bert_config.json", max_seq_length=4000)
    assert _facts(model).window == 64


def test_a_tokenizer_without_limit_leaves_the_architecture_to_decide(model: Path) -> None:
    """10**30 stands in many tokenizers and means: unknown."""
    change_json(model / "sentence_bert_config.json", max_seq_length=None)
    change_json(model / "tokenizer_config.json", model_max_length=10**30)
    assert _facts(model).window == 64
    change_json(model / "tokenizer_config.json", model_max_length=48)
    assert _facts(model).window == 48


def test_positions_that_begin_after_the_padding_token_are_counted(model: Path) -> None:
    """A RoBERTa of 66 positions reads 64 tokens."""
    change_json(model / "config.json", model_type="roberta", max_position_embeddings=66, pad_token_id=1)
    assert _facts(model).longest == 64


def test_a_model_that_does_not_say_its_window_is_refused(model: Path) -> None:
    """A guess would truncate silently or fail late."""
    change_json(model / "sentence_bert_config.json", max_seq_length=None)
    change_json(model / "config.json", max_position_embeddings=None)
    with pytest.raises(ConfigurationError, match="how many tokens"):
        _facts(model)


def test_max_tokens_narrows_and_widens_within_the_limit(model: Path) -> None:
    """A model may read more than its author set, never more than it has positions."""
    change_json(model / "sentence_bert_config.json", max_seq_length=40)
    found = _facts(model)
    assert effective_window(ModelConfig(path=model), found) == 40
    assert effective_window(ModelConfig(path=model, max_tokens=16), found) == 16
    assert effective_window(ModelConfig(path=model, max_tokens=64), found) == 64
    with pytest.raises(ConfigurationError, match="can read 64"):
        effective_window(ModelConfig(path=model, max_tokens=65), found)


def test_declared_prompts_are_reported(tmp_path: Path) -> None:
    """They are not used on their own; a person reads them in `model show` and copies them."""
    model = make_tiny_model(tmp_path, prompts={"query": "query: ", "document": "passage: ", "none": ""})
    assert _facts(model).prompts == {"query": "query: ", "document": "passage: "}
