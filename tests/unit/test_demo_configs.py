"""The example configurations are documentation: they load, and they name every key there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from byov_migrate.config import (
    Config,
    EmbeddingConfig,
    LinkConfig,
    ModelConfig,
    NodeConfig,
    SourceConfig,
    StateConfig,
    TableConfig,
    TargetConfig,
    load_config,
    parse_config,
)

CONFIGS = Path(__file__).parents[2] / "configs"
SECTIONS: dict[str, type[BaseModel]] = {
    "source": SourceConfig,
    "target": TargetConfig,
    "state": StateConfig,
    "models.jobs": ModelConfig,
    "tables": TableConfig,
    "tables.embeddings": EmbeddingConfig,
    "nodes": NodeConfig,
    "links": LinkConfig,
}
ELSEWHERE = {"embeddings"}  # sections of their own


def keys_by_section(text: str) -> dict[str, set[str]]:
    """Keys of each section, those behind # included."""
    keys: dict[str, set[str]] = {}
    section = ""
    for line in text.splitlines():
        if heading := re.match(r"\[+([\w.]+)\]", line):
            section = heading.group(1)
        elif key := re.match(r"#?(\w+) = ", line):
            keys.setdefault(section, set()).add(key.group(1))
    return keys


@pytest.mark.parametrize("name", ["jobs", "ready-vectors"])
def test_an_example_loads_as_it_is(name: str) -> None:
    """Without an environment: secrets are read later."""
    assert load_config(CONFIGS / f"{name}.toml", {}).name == name


@pytest.mark.parametrize("section", SECTIONS)
def test_the_example_names_every_key_of_a_section_and_no_other(section: str) -> None:
    """A key added to the program and not to the example would stay unknown."""
    written = keys_by_section((CONFIGS / "jobs.toml").read_text(encoding="utf-8"))[section]
    known = {field.alias or name for name, field in SECTIONS[section].model_fields.items()}
    assert written == known - ELSEWHERE


def test_the_example_has_every_section() -> None:
    """As above, for whole sections."""
    written = {
        section.partition(".")[0] for section in keys_by_section((CONFIGS / "jobs.toml").read_text(encoding="utf-8"))
    }
    assert written - {""} == set(Config.model_fields) - {"name", "base"}


def test_every_line_of_the_example_may_be_switched_on() -> None:
    """A value that is shown behind # is valid where it stands; keys that replace others are left out."""
    instead_of_others = "vector|foreign_key|through|source_columns|target_columns|properties"
    text = re.sub(rf"(?m)^#(?!{instead_of_others})(?=\w+ = )", "", (CONFIGS / "jobs.toml").read_text(encoding="utf-8"))
    config = parse_config(tomllib.loads(text), {}, base=CONFIGS, stem="jobs")
    assert config.tables[0].changed_by == "updated_at"
