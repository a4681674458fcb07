"""Metrics in Prometheus's text format, for a textfile collector."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byov_migrate.jobs.metrics import Metrics, TableMetrics

_GAUGES = {
    "byov_migrate_last_complete_sync_timestamp_seconds": "When the last complete sync ended; alert on its age.",
    "byov_migrate_last_sweep_timestamp_seconds": "When deletes were last looked for.",
    "byov_migrate_records": "Records that are proved to be stored.",
    "byov_migrate_rejects": "Rows that are rejected and not accepted.",
    "byov_migrate_sync_created_rows": "Records made by the last complete sync.",
    "byov_migrate_sync_updated_rows": "Records changed by the last complete sync.",
    "byov_migrate_sync_deleted_rows": "Records deleted by the last complete sync.",
    "byov_migrate_sync_rejected_rows": "Rows newly rejected by the last complete sync.",
    "byov_migrate_sync_duration_seconds": "How long the last complete sync took.",
    "byov_migrate_sync_guarantee_info": "How the last complete sync saw changes; always 1.",
}
_EXIT_CODE = "byov_migrate_last_sync_exit_code"


def write_metrics(metrics: Metrics, path: Path) -> None:
    """Replace the file as a whole: a collector never reads half of it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(render_metrics(metrics), encoding="utf-8")
    unfinished.replace(path)


def render_metrics(metrics: Metrics) -> str:
    """Each metric with its help and type; a figure that is not known is left out."""
    lines: list[str] = []
    for name, text in _GAUGES.items():
        samples = [line for table in metrics.tables for line in _samples(name, table)]
        lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", *samples] if samples else []
    if metrics.exit_code is not None:
        lines += [f"# HELP {_EXIT_CODE} How the last sync ended.", f"# TYPE {_EXIT_CODE} gauge"]
        lines.append(f"{_EXIT_CODE} {metrics.exit_code}")
    return "\n".join([*lines, ""])


def _samples(name: str, table: TableMetrics) -> Iterator[str]:
    if name == "byov_migrate_sync_guarantee_info":
        if guarantee := table.last.get("guarantee"):
            yield _line(name, 1, table=table.table, strategy=table.last.get("strategy", ""), guarantee=guarantee)
        return
    value = _value(name, table)
    if value is not None:
        yield _line(name, value, table=table.table)


def _value(name: str, table: TableMetrics) -> float | None:
    known: dict[str, float | None] = {
        "byov_migrate_last_complete_sync_timestamp_seconds": table.synced_at,
        "byov_migrate_last_sweep_timestamp_seconds": table.swept_at,
        "byov_migrate_records": table.records,
        "byov_migrate_rejects": table.rejects,
        "byov_migrate_sync_created_rows": table.last.get("created"),
        "byov_migrate_sync_updated_rows": table.last.get("updated"),
        "byov_migrate_sync_deleted_rows": table.last.get("deleted"),
        "byov_migrate_sync_rejected_rows": table.last.get("rejected_new"),
        "byov_migrate_sync_duration_seconds": table.last.get("seconds"),
    }
    return known[name]


def _line(name: str, value: float, **labels: str) -> str:
    shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{shown}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
