"""Import bodies taken apart: nested JSON becomes flat records that know their parent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from byov_migrate.sandbox.replies import import_failed, invalid_body, refused
from byov_migrate.sandbox.values import Content, content_of, refuse_reserved

DEFAULT_RELATION = "__RUSHDB__RELATION__DEFAULT__"


@dataclass(frozen=True, slots=True)
class Options:
    """The `options` of a write, after their defaults."""

    suggest: bool = True
    skip_empty: bool = False
    return_result: bool = False
    merge_by: tuple[str, ...] | None = None  # None creates; empty matches on every property sent
    rewrite: bool = False
    relation_type: str = DEFAULT_RELATION


@dataclass(frozen=True, slots=True)
class InlineVector:
    """One entry of `$vectors` (import) or `vectors` (single record), not yet checked."""

    property: str
    vector: Any
    similarity: str | None


@dataclass(frozen=True, slots=True)
class Draft:
    """One record to write. `parent` is the position of its parent among the drafts."""

    label: str
    content: Content
    vectors: tuple[InlineVector, ...] = ()
    parent: int | None = None


def read_options(body: Mapping[str, Any], *, suggest_by_default: bool = False) -> Options:
    """`options` of a body. Types are suggested when it is absent, and lost when it is there without `suggestTypes`."""
    raw = body.get("options")
    if raw is None:
        return Options()
    strategy = raw.get("mergeStrategy")
    if strategy not in (None, "append", "rewrite"):
        raise invalid_body(
            '"options.mergeStrategy" Invalid enum value. '
            f"Expected 'append' | 'rewrite', received '{strategy}'"
        )  # fmt: skip
    merge_by = raw.get("mergeBy")
    if strategy is not None and merge_by is None:
        raise import_failed("Expected parameter(s): mergeBy")
    return Options(
        suggest=bool(raw.get("suggestTypes", suggest_by_default)),
        skip_empty=bool(raw.get("skipEmptyValues")),
        return_result=bool(raw.get("returnResult")),
        merge_by=None if merge_by is None else tuple(merge_by),
        rewrite=strategy == "rewrite",
        relation_type=raw.get("relationshipType") or DEFAULT_RELATION,
    )


def read_drafts(body: Mapping[str, Any], options: Options) -> list[Draft]:
    """The records of an import body, parents before their children. Raises 400 for a body that is none."""
    roots = _roots(body)
    refuse_reserved(body)
    drafts: list[Draft] = []
    queue: deque[tuple[str, Mapping[str, Any], int | None]] = deque((label, row, None) for label, row in roots)
    while queue:
        label, row, parent = queue.popleft()
        queue.extend((name, child, len(drafts)) for name, child in _children(row))
        drafts.append(_draft(label, row, parent, options))
    return drafts


def read_vectors(raw: Any) -> tuple[InlineVector, ...]:
    """Entries that are objects; anything else in their place is ignored, as the server does."""
    if not isinstance(raw, list):
        return ()
    return tuple(
        InlineVector(str(entry.get("propertyName")), entry.get("vector"), entry.get("similarityFunction"))
        for entry in raw
        if isinstance(entry, dict)
    )


def _draft(label: str, row: Mapping[str, Any], parent: int | None, options: Options) -> Draft:
    if "" in row:
        raise import_failed("'' is not a valid token name. Token names cannot be empty or contain any null-bytes.")
    flat = {name: value for name, value in row.items() if name != "$vectors" and not _is_nested(value)}
    content = content_of(flat, suggest=options.suggest, skip_empty=options.skip_empty)
    return Draft(label, content, read_vectors(row.get("$vectors")), parent)


def _is_nested(value: Any) -> bool:
    if isinstance(value, list):
        return any(isinstance(item, (dict, list)) for item in value)
    return isinstance(value, dict)


def _children(row: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, value in row.items():
        if name == "$vectors" or not _is_nested(value):
            continue
        for item in value if isinstance(value, list) else [value]:
            yield name, _as_object(item)


def _as_object(item: Any) -> Mapping[str, Any]:
    if isinstance(item, dict):
        return item
    return {str(position): element for position, element in enumerate(item)} if isinstance(item, list) else {}


def _roots(body: Mapping[str, Any]) -> Sequence[tuple[str, Mapping[str, Any]]]:
    label, data = body.get("label"), body.get("data")
    if label == "":
        raise invalid_body('"label" String must contain at least 1 character(s)')
    if isinstance(data, list) and not all(isinstance(row, dict) for row in data):
        raise invalid_body('"data" does not match any of the allowed types')
    if not isinstance(data, (dict, list)):
        raise import_failed("`data` must be a JSON object, array, or JSON text")
    if label is None:
        return _unlabelled_roots(data)
    return [(label, row) for row in (data if isinstance(data, list) else [data])]


def _unlabelled_roots(data: Any) -> Sequence[tuple[str, Mapping[str, Any]]]:
    if isinstance(data, list) or not all(_is_nested(value) for value in data.values()):
        raise refused(
            400,
            "`label` is required when importing a top-level array or JSON object with primitive top-level properties",
        )
    return list(_children(data))
