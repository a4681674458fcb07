"""Write configs/byov-migrate.schema.json from the configuration's models and the tables of docs/configuration.md."""
# ruff: noqa: INP001 - a script of the repository, in no package

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from byov_migrate import config, config_values

ROOT = Path(__file__).parents[1]
FILE = ROOT / "configs" / "byov-migrate.schema.json"
DOCUMENT = ROOT / "docs" / "configuration.md"
FROM_ENVIRONMENT = "FromEnvironment"
SECRETS = frozenset({"Secret", "LocatedSecret"})
SECTIONS: Mapping[str, str] = {
    "Top level": "Config",
    "[source]": "SourceConfig",
    "[target]": "TargetConfig",
    "[state]": "StateConfig",
    "[models.NAME]": "ModelConfig",
    "[[tables]]": "TableConfig",
    "[[tables.embeddings]]": "EmbeddingConfig",
    "[[nodes]]": "NodeConfig",
    "[[links]]": "LinkConfig",
}
"""Heading in the document -> model."""
_DURATION = {"anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?\s*[smhd]$"}, {"type": "number", "minimum": 0}]}


class _AsWritten(GenerateJsonSchema):
    """The schema of what people write, where a validator turns it into something else."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """Filters and templates are text; a duration is text or seconds."""
        reader: Any = schema["function"]["function"]
        if reader in (config_values.read_filter, config_values.read_template):
            return {"type": "string"}
        return dict(_DURATION) if reader is config_values.duration else super().function_before_schema(schema)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A default of None is an absent key: TOML has no null."""
        written = super().default_schema(schema)
        return {name: value for name, value in written.items() if (name, value) != ("default", None)}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """As above."""
        return self.generate_inner(schema["schema"])


def schema_text() -> str:
    """What the file has to hold."""
    schema = config.Config.model_json_schema(by_alias=True, schema_generator=_AsWritten)
    definitions = schema.pop("$defs")
    objects = {**definitions, "Config": schema}
    for name, described in objects.items():
        _tidy(name, described)
    _describe(objects, DOCUMENT.read_text(encoding="utf-8"))
    kept = {name: definitions[name] for name in sorted(definitions) if name not in ("Filter", "Template")}
    kept[FROM_ENVIRONMENT] = _from_environment()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "byov-migrate configuration"}
    return json.dumps({**head, **schema, "$defs": kept}, indent=2, ensure_ascii=False) + "\n"


def _tidy(name: str, described: dict[str, Any]) -> None:
    """Leave out what is no key, and let every string but a secret's place come from the environment."""
    described.pop("title", None)
    properties = described.get("properties", {})
    if name == "Config":
        del properties["base"], properties["state"]["default"], described["description"]
        described["required"] = [key for key in described["required"] if key not in ("base", "name")]
    for key, content in properties.items():
        content.pop("title", None)
        properties[key] = content if name in SECRETS else _fillable(content)
    if name in SECRETS:
        described["oneOf"] = [{"required": [key]} for key in properties]


def _fillable(content: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value, or of all values in it, that may be `{ env = "NAME" }`."""
    if content.get("type") == "string" or "anyOf" in content:
        default = {"default": content.pop("default")} if "default" in content else {}
        choices = content.get("anyOf", [content])
        return {"anyOf": [*choices, {"$ref": f"#/$defs/{FROM_ENVIRONMENT}"}], **default}
    for inner in ("items", "additionalProperties"):
        if isinstance(content.get(inner), dict):
            content[inner] = _fillable(content[inner])
    return content


def _from_environment() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "The value of an environment variable, or the default when it is not set.",
        "properties": {"env": {"type": "string"}, "default": {"type": "string"}},
        "required": ["env"],
        "additionalProperties": False,
    }


def _describe(objects: Mapping[str, dict[str, Any]], text: str) -> None:
    for heading, name in SECTIONS.items():
        for row in key_rows(text, heading):
            key, meaning = row[0].strip("`"), row[-1]
            if key in objects[name]["properties"]:  # a key too many is the documents' test's to find
                objects[name]["properties"][key]["description"] = _plain(meaning)


def _plain(meaning: str) -> str:
    """Without links."""
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", meaning)


def key_rows(text: str, heading: str) -> Iterator[list[str]]:
    """Cells of each row of the table under a heading: key, default, class, meaning."""
    section = section_of(text, heading)
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `"):
            yield cells


def section_of(text: str, heading: str) -> str:
    """The text between a heading of the second level, with or without backticks, and the next one."""
    found = re.search(rf"(?ms)^## `?{re.escape(heading)}`?$(.*?)(?=^## |\Z)", text)
    return found.group(1) if found else ""


def main() -> None:
    """Write the file anew."""
    FILE.write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
