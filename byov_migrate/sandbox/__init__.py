"""A local RushDB for the demo and the tests; a server of its own, knows none of the other rooms.

    routes ──► writes, search, nearest, relations ──► records, indexes ──► store (SQLite), vectors (numpy)

It imitates what a self-hosted platform 2.11 was seen to do, traps included; `tests/contract` holds it to that.
"""

from __future__ import annotations

from byov_migrate.sandbox.app import Access, Keys, create_app, keys_for
from byov_migrate.sandbox.server import BANNER, Sandbox, running, serve
from byov_migrate.sandbox.store import Store

__all__ = ["BANNER", "Access", "Keys", "Sandbox", "Store", "create_app", "keys_for", "running", "serve"]
