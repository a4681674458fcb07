"""The digest of what leaves and what stays: approved once, told by every run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from byov_migrate.config import parse_config
from byov_migrate.jobs.documents import plan_digest

NODE = {"label": "City", "table": "job", "column": "city"}
LINK = {"type": "LIKE", "through": "alike"}


def digest(**changed: Any) -> str:
    """Of one table, node and link; `table`, `embedding`, `model`, `target`, `node`, `link` overlay it."""
    embedding = {"property": "vec", "text": "{title}\n{body}", "model": "m", **changed.get("embedding", {})}
    table = {"name": "job", "label": "Job", "columns": ["id", "title"], "where": ["status = open"]}
    table |= changed.get("table", {})
    link = {**LINK, "source": table["label"], "target": table["label"], **changed.get("link", {})}
    content = {
        "source": {"dsn": {"env": "DSN"}},
        "target": {"url": "http://localhost", "api_key": {"env": "KEY"}, **changed.get("target", {})},
        "models": {"m": {"path": "model", **changed.get("model", {})}},
        "tables": [{**table, "embeddings": [embedding]}],
        "nodes": [{**NODE, **changed.get("node", {})}],
        "links": [link],
    }
    return plan_digest(parse_config(content, {}, base=Path("/"), stem="jobs"))


PLAIN = digest()


def test_it_is_short_enough_to_compare_by_eye() -> None:
    """And the same each time."""
    assert re.fullmatch("[0-9a-f]{6,12}", PLAIN)
    assert digest() == PLAIN


@pytest.mark.parametrize(
    "changed",
    [
        {"table": {"columns": ["id", "title", "salary"]}},
        {"table": {"rename": {"title": "name"}}},
        {"table": {"where": ["status = closed"]}},
        {"table": {"where": []}},
        {"table": {"deleted_when": "gone is not null"}},
        {"table": {"label": "Posting"}},
        {"table": {"hash_key_values": True}},
        {"table": {"types": {"id": "text"}}},
        {"embedding": {"send_text": True}},
        {"embedding": {"text": "{title}"}},
        {"embedding": {"property": "other"}},
        {"embedding": {"spare": False}},
        {"node": {"label": "Place"}},
        {"node": {"column": "town"}},
        {"node": {"property": "title"}},
        {"link": {"type": "RESEMBLES"}},
        {"link": {"target": "City"}},
        {"link": {"through": "other"}},
        {"link": {"source_columns": ["a"]}},
        {"link": {"properties": ["degree"]}},
    ],
    ids=str,
)
def test_what_leaves_or_stays_cannot_change_under_it(changed: dict[str, Any]) -> None:
    """Else a signature would cover what nobody saw."""
    assert digest(**changed) != PLAIN


@pytest.mark.parametrize(
    "changed",
    [
        {"target": {"url": "http://127.0.0.1:1"}},
        {"target": {"writers": 1}},
        {"model": {"device": "cpu"}},
        {"table": {"reject_ceiling": 5}},
        {"table": {"sweep_every": "2h"}},
        {"node": {"unused": "remove"}},
    ],
    ids=str,
)
def test_what_changes_nothing_that_leaves_keeps_it(changed: dict[str, Any]) -> None:
    """Else people learn to ignore it."""
    assert digest(**changed) == PLAIN
