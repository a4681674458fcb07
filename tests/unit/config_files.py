"""Configurations as they are written, to be spoilt in one place or another."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from byov_migrate.config import Config, parse_config
from byov_migrate.errors import ConfigurationError

SMALLEST = """
[source]
dsn = { env = "DATABASE_URL" }
[target]
url = "https://api.rushdb.com"
api_key = { env = "RUSHDB_API_KEY" }
[[tables]]
name = "public.job"
label = "Job"
columns = ["id", "title"]
"""
BASE = Path("/somewhere/else")


def given() -> dict[str, Any]:
    """The smallest configuration, to be spoilt."""
    return tomllib.loads(SMALLEST)


def parse(content: dict[str, Any], environment: Mapping[str, str] | None = None) -> Config:
    """Parse as if read from `jobs.toml` in BASE."""
    return parse_config(content, environment or {}, base=BASE, stem="jobs")


def with_embedding(**embedding: Any) -> dict[str, Any]:
    """A configuration with one model and one embedding."""
    content = given()
    content["models"] = {"jobs": {"path": "models/jobs"}}
    plain = {"property": "description", "text": "{body}", "model": "jobs"}
    content["tables"][0]["embeddings"] = [{**plain, **embedding}]
    return content


def changed(path: str, value: Any, content: dict[str, Any] | None = None) -> dict[str, Any]:
    """A configuration with one key set; `path` as in tables.0.label."""
    content = copy.deepcopy(content or given())
    *steps, last = path.split(".")
    place: Any = content
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    place[last] = value
    return content


def mistakes(content: dict[str, Any], environment: Mapping[str, str] | None = None) -> list[str]:
    """The lines of the refusal, without the first, which counts them."""
    with pytest.raises(ConfigurationError) as caught:
        parse(content, environment)
    head, *lines = str(caught.value).split("\n")
    assert head.split()[0] == str(len(lines))
    return [line.strip() for line in lines]


def one_mistake(content: dict[str, Any], environment: Mapping[str, str] | None = None) -> str:
    """The only line of the refusal."""
    [line] = mistakes(content, environment)
    return line
