"""docs/configuration.md, the schema for editors and every configuration that is shown: they are what is parsed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticUndefined

from byov_migrate import config
from byov_migrate.config import Config, parse_config
from byov_migrate.state.scope import change_class
from scripts import config_schema
from scripts.config_schema import SECTIONS, key_rows
from tests.documents import FENCE, NAMES, ROOT, read

NESTED = {"Config": {"source", "target", "state", "models", "tables", "nodes", "links"}, "TableConfig": {"embeddings"}}


def model_named(name: str) -> type[BaseModel]:
    """A section's model."""
    model: type[BaseModel] = getattr(config, name)
    return model


def keys_of(name: str) -> dict[str, Any]:
    """Key as written -> field, sections within left out."""
    fields = model_named(name).model_fields
    left_out = NESTED.get(name, set()) | {"base"}
    return {field.alias or key: field for key, field in fields.items() if key not in left_out}


def rows_of(heading: str) -> dict[str, list[str]]:
    """Key -> default, class, meaning."""
    return {row[0].strip("`"): row[1:] for row in key_rows(read("docs/configuration.md"), heading)}


@pytest.mark.parametrize(("heading", "name"), SECTIONS.items())
def test_every_configuration_key_is_documented_and_no_other(heading: str, name: str) -> None:
    """A key added to the program and not to the document, or the reverse."""
    assert set(rows_of(heading)) == set(keys_of(name))


def test_every_section_is_documented() -> None:
    """A section added to the program has no rows to be compared."""
    models = {
        value.__name__ for value in vars(config).values() if isinstance(value, type) and issubclass(value, BaseModel)
    }
    assert set(SECTIONS.values()) == models - {
        *("BaseModel", "Section", "Secret", "LocatedSecret"),
        *("Entry", "End"),  # of the program, never of a file
    }


@pytest.mark.parametrize(("heading", "name"), SECTIONS.items())
def test_a_documented_default_is_the_programs(heading: str, name: str) -> None:
    """A default in code marks is the value itself; "required" and "none" are what they say."""
    for key, (default, *_) in rows_of(heading).items():
        field = keys_of(name)[key]
        if default == "required":
            assert field.is_required(), key
        elif default == "none":
            assert field.default is None, key
        elif (literal := re.fullmatch(r"`(.+)`", default)) and "NAME" not in default:
            assert read_value(field, literal.group(1)) == default_of(field), key


def read_value(field: Any, literal: str) -> Any:
    """A TOML value, read as the field reads it."""
    value = tomllib.loads(f"value = {literal}")["value"]
    holder: TypeAdapter[Any] = TypeAdapter(field.annotation)
    for step in field.metadata:
        if hasattr(step, "func"):
            value = step.func(value)
    return holder.validate_python(value)


def default_of(field: Any) -> Any:
    """The default, made when it is made."""
    return field.default_factory() if field.default is PydanticUndefined else field.default


def fields_of_scope(heading: str, key: str) -> str:
    """The name under which the state would remember a key."""
    return {
        "[[tables]]": f"tables[public.job].{key}",
        "[[tables.embeddings]]": f"tables[public.job].embeddings[text].{key}",
        "[[nodes]]": f"tables[public.job.city].{'rename' if key == 'property' else key}",
        "[[links]]": "tables[public.job].links",
        "[state]": {"source_id": "source.system"}.get(key, key),
    }.get(heading, key)


@pytest.mark.parametrize("heading", SECTIONS)
def test_a_documented_class_is_the_programs(heading: str) -> None:
    """What is said of a change is what the state will do about it."""
    compared_by_name = {
        *(("[[tables]]", "name"), ("[[tables.embeddings]]", "property")),
        *(("[[nodes]]", "table"), ("[[nodes]]", "column")),
    }
    for key, (_, said, _meaning) in rows_of(heading).items():
        if (heading, key) in compared_by_name:
            assert said == "another", key
        elif heading == "[models.NAME]":
            assert said in ("free", "re-embed"), key
        elif said == "free":
            with pytest.raises(KeyError):
                change_class(fields_of_scope(heading, key))
        else:
            assert change_class(fields_of_scope(heading, key)) == said, key


def test_a_models_re_embed_keys_are_those_of_its_fingerprint(tmp_path: Path) -> None:
    """A setting that changes vectors and is called free would mix two vector spaces."""
    from byov_migrate.embed.fingerprint import fingerprint_model
    from byov_migrate.embed.model_files import ModelFiles

    files = ModelFiles.__new__(ModelFiles)
    object.__setattr__(files, "root", tmp_path)
    object.__setattr__(files, "used", ())
    changed = {
        "device": "cpu",
        "long_text": "mean",
        "document_prompt": "passage: ",
        "query_prompt": "query: ",
        "normalize": False,
        "dtype": "float32",
        "batch_tokens": 64,
    }
    base = config.ModelConfig(path=tmp_path)
    before = fingerprint_model(files, base, dimension=8, window=256)
    for key, value in changed.items():
        after = fingerprint_model(files, base.model_copy(update={key: value}), dimension=8, window=256)
        assert ("re-embed" if after != before else "free") == rows_of("[models.NAME]")[key][1], key
    assert fingerprint_model(files, base, dimension=8, window=128) != before
    assert rows_of("[models.NAME]")["max_tokens"][1] == "re-embed"


def test_the_schema_is_up_to_date() -> None:
    """Editors complete what the program takes. To write it anew: python -m scripts.config_schema."""
    assert config_schema.FILE.read_text(encoding="utf-8") == config_schema.schema_text()


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_shown_is_one(name: str) -> None:
    """A reader copies it as it stands."""
    for kind, block in FENCE.findall(read(name)):
        if kind == "toml":
            assert isinstance(parse_config(tomllib.loads(block), {}, base=ROOT, stem="jobs"), Config)
