"""Which tables are taken back, and which labels may be agreed to."""

from __future__ import annotations

from pathlib import Path

import pytest

from byov_migrate.config import Config, parse_config
from byov_migrate.errors import ConfigurationError, Refused
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.undo import undo


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Two tables; a node is read from the first."""
    content = {
        "source": {"dsn": {"env": "DSN"}},
        "target": {"url": "http://127.0.0.1:1", "api_key": {"env": "KEY"}},
        "tables": [
            {"name": "public.job", "label": "Job", "columns": ["id"]},
            {"name": "public.team", "label": "Team", "columns": ["id"]},
        ],
        "nodes": [{"label": "Company", "table": "public.job", "column": "company"}],
    }
    return parse_config(content, {}, base=tmp_path, stem="jobs")


@pytest.mark.parametrize(
    ("tables", "labels"),
    [
        ([], "Job, Team, Company"),
        (["public.job"], "Job, Company"),
        (["Job", "public.job"], "Job, Company"),
        (["Team"], "Team"),
        (["Company"], "Company"),
    ],
)
def test_nodes_go_with_the_table_that_they_are_read_from(config: Config, tables: list[str], labels: str) -> None:
    """Nobody would own them; alone they can be taken back too."""
    with pytest.raises(ConfigurationError, match=f"what would be removed is {labels}; nothing removed"):
        undo(config, tables=tables, agreed=["Nothing"], surroundings=Surroundings(environment={}))


def test_a_table_that_is_not_configured_is_named(config: Config) -> None:
    """With those that are."""
    with pytest.raises(ConfigurationError, match=r"no table 'other'.*public\.job"):
        undo(config, tables=["other"], surroundings=Surroundings(environment={}))


def test_without_a_state_nothing_is_made_beside_the_configuration(config: Config) -> None:
    """No new state, whose id would be on nobody's marker."""
    with pytest.raises(Refused, match="there is no state"):
        undo(config, surroundings=Surroundings(environment={}))
    assert list(config.base.iterdir()) == []
