"""Rows that were refused, as the state knows them."""

from __future__ import annotations

from typing import Any

from byov_migrate.config import Config
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.state import open_state


def list_rejects(
    config: Config, *, table: str | None = None, surroundings: Surroundings | None = None
) -> list[dict[str, Any]]:
    """Every reject of one table or all, oldest first. Raise Refused when there is no state."""
    around = surroundings or Surroundings()
    name = config.table(table).name if table else None
    state = open_state(config.state_path, around.clock, create=False)
    try:
        return state.ledger.rejects(name)
    finally:
        state.close()
