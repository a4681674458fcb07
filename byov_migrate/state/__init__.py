"""What is done, on this machine: runs, scope, journal, ledger; hash key and run lock. Advances on receipts alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from byov_migrate.state.carriers import Carriers
from byov_migrate.state.cursors import Cursors
from byov_migrate.state.journal import Journal
from byov_migrate.state.ledger import Ledger
from byov_migrate.state.links import Links
from byov_migrate.state.reports import Reports
from byov_migrate.state.runs import Runs
from byov_migrate.state.scope import Scope
from byov_migrate.state.store import Store
from byov_migrate.state.vector_cache import VectorCache


@dataclass(frozen=True)
class State:
    """The open state file and its sides."""

    store: Store
    runs: Runs
    scope: Scope
    journal: Journal
    ledger: Ledger
    links: Links
    cursors: Cursors
    cache: VectorCache
    carriers: Carriers
    reports: Reports

    def close(self) -> None:
        """Give the file back."""
        self.store.close()


def open_state(path: Path, clock: Callable[[], float], *, create: bool, keep_vectors: bool = False) -> State:
    """Open a state, or make one when `create`. `clock` gives seconds since 1970.

    keep_vectors: keep those that a model makes, so that records can be rewritten without embedding again.
    Raise Refused when the file is absent (without `create`), corrupt, foreign or of a later format.
    """
    store = Store.open(path, clock, create=create)
    return State(
        store,
        Runs(store),
        Scope(store),
        Journal(store, keep_vectors=keep_vectors),
        Ledger(store),
        Links(store),
        Cursors(store),
        VectorCache(store),
        Carriers(store),
        Reports(store),
    )
