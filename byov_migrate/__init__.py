"""Moves rows and home-made vectors from PostgreSQL to RushDB; the text stays at home.

    from byov_migrate import backfill, load_config

    result = backfill(load_config(Path("jobs.toml"), os.environ))

Configuration in, frozen result out, errors raised: no printing, no exit, no signal handler, no logging set-up.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byov_migrate.config import load_config
    from byov_migrate.jobs.backfill import backfill
    from byov_migrate.jobs.models import QueryEncoder
    from byov_migrate.jobs.plan import plan
    from byov_migrate.jobs.search import search
    from byov_migrate.jobs.status import status
    from byov_migrate.jobs.sync import sync
    from byov_migrate.jobs.verify import verify

__all__ = ["QueryEncoder", "backfill", "load_config", "plan", "search", "status", "sync", "verify"]

_HOMES = {
    "QueryEncoder": "byov_migrate.jobs.models",
    "backfill": "byov_migrate.jobs.backfill",
    "load_config": "byov_migrate.config",
    "plan": "byov_migrate.jobs.plan",
    "search": "byov_migrate.jobs.search",
    "status": "byov_migrate.jobs.status",
    "sync": "byov_migrate.jobs.sync",
    "verify": "byov_migrate.jobs.verify",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for: the command line must start at once."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
