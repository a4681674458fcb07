"""Sync after sync in one process: models stay loaded, and what passes by itself is waited out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from byov_migrate.config import Config
from byov_migrate.errors import Interrupted, Unavailable
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.sync import SyncResult, sync
from byov_migrate.jobs.table_work import Models


def watch(
    config: Config,
    every_s: float,
    *,
    told: Callable[[SyncResult | Unavailable], None],
    full: bool = False,
    confirm_deletes: bool = False,
    accept: str | None = None,
    tables: Sequence[str] = (),
    surroundings: Surroundings | None = None,
) -> None:
    """Sync, wait `every_s` seconds, sync again, until the surroundings say stop: that is how a watch ends well.

    told: what came of each sync. What was asked for once, such as a full pass, is done once. Raise what `sync` raises,
    but for Unavailable.
    """
    around = surroundings or Surroundings()
    models = Models(config, around.log)
    while not around.stop.is_set():
        try:
            told(
                sync(
                    config,
                    full=full,
                    confirm_deletes=confirm_deletes,
                    accept=accept,
                    tables=tables,
                    models=models,
                    surroundings=around,
                )
            )
        except Interrupted:
            return
        except Unavailable as error:
            told(error)
        else:
            full, confirm_deletes, accept = False, False, None
        around.stop.wait(every_s)
