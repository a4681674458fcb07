"""What a sync did, or would do: silent when nothing happened, since cron turns every word into a mail."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byov_migrate.jobs.dry_run import SyncForecast
    from byov_migrate.jobs.linking import LinkResult
    from byov_migrate.jobs.sync import SyncResult, TableSync


def print_sync(result: SyncResult) -> None:
    """A line a table in which, or in whose links, something happened."""
    for table in result.tables:
        links = [part for link in result.links if link.source == table.label for part in _linked(link)]
        if table.changes or links:
            print(_line(table, links), flush=True)
    synced = {table.label for table in result.tables}
    for link in result.links:
        if link.source not in synced and (parts := _linked(link)):  # --table: links are made all the same
            print(f"{link.source}: links: {', '.join(parts)}", flush=True)


def _linked(link: LinkResult) -> list[str]:
    made = [f"{link.made:,} {link.type} made"] if link.made else []
    return made + ([f"{link.removed:,} {link.type} removed"] if link.removed else [])


def _line(table: TableSync, links: Sequence[str]) -> str:
    parts = [f"{table.created:,} new, {table.updated:,} changed, {table.deleted:,} deleted"]
    parts += [f"links: {', '.join(links)}"] if links else []
    parts += [f"{table.rejected_new:,} rejected"] if table.rejected_new else []
    parts += [f"{table.texts_again:,} texts embedded again to rewrite their records"] if table.texts_again else []
    parts += [f"deletes last looked for {_moment(table.swept_at)}", table.guarantee]
    return f"{table.label}: " + "; ".join(parts)


def _moment(seconds: float | None) -> str:
    return "never" if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def print_forecast(result: SyncForecast) -> None:
    """A line a table, also when there is nothing to do: it was asked for by a person."""
    for table in result.tables:
        deletes = f"{table.to_delete:,} to delete" if table.sweep else f"{table.to_delete:,} known to delete (no sweep)"
        rejected = f", {table.rejected:,} would be rejected" if table.rejected else ""
        print(f"{table.label}: {table.to_create:,} to make, {table.to_update:,} to change, {deletes}{rejected}")
        print(f"  {table.unchanged:,} looked at and unchanged; {table.guarantee}; nothing was written")
    if result.links:
        print("links: not looked at; a sync makes and removes what these rows imply")
