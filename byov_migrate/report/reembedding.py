"""What a second set of vectors has become, which one searches use, and what was removed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from byov_migrate.jobs.reembed import DropResult, ReembedResult, Switched, SwitchResult, TableReembed, Vectors


def print_reembed(result: ReembedResult) -> None:
    """Two lines an embedding, then what comes next."""
    for item in result.embeddings:
        print("\n".join(_filled(item)))
    print("next: byov-migrate verify --candidate, then byov-migrate reembed switch")


def _filled(item: TableReembed) -> list[str]:
    where = f"{item.label}.{item.carrier}"
    lines = [
        f"{where}: {item.vectors:,} vectors by {item.model}, {item.texts:,} texts embedded in {item.seconds:,.0f} s",
        f"  beside {item.live}: {item.live_vectors:,} vectors by {item.live_model}, which searches go on using",
    ]
    if item.synced:
        lines.append(f"  {item.synced:,} changes were synced meanwhile, in both")
    if item.refused:
        lines.append(f"  {item.refused:,} texts were refused by {item.model}: their records have no vector by it")
    if item.not_synced:
        lines.append(f"  not synced meanwhile: {item.not_synced}; see: byov-migrate sync --full")
    if item.rejects:
        lines.append(f"  {item.rejects:,} rows are rejected; see: byov-migrate rejects list")
    return lines


def print_switch(result: SwitchResult) -> None:
    """What applications change, and the way back."""
    for item in result.embeddings:
        print(_switched(item))


def _switched(item: Switched) -> str:
    use = f"search and QueryEncoder use {item.model} on {item.label}.{item.carrier}"
    if item.carrier == item.before:
        return f"{use} already"
    way = "byov-migrate reembed switch --back" if item.is_newer else "byov-migrate reembed switch"
    return (
        f'{use} now. Applications that call RushDB themselves: propertyName "{item.carrier}", query vectors by'
        f" {item.model}. The other way again: {way}"
    )


def print_drop(result: DropResult) -> None:
    """What is gone, and what stays."""
    for item in result.embeddings:
        gone = f"{item.label}.{item.property_name}: {item.vectors:,} vectors by {item.model} removed"
        print(f"{gone}; the property is spare. Searches use {item.kept}, by {item.kept_model}")


def print_question(vectors: Vectors) -> None:
    """What would go, to stderr: stdout is for the result."""
    name = vectors.property_name
    print(
        f"{vectors.vectors:,} vectors of {vectors.label}.{name} by {vectors.model} would be removed;"
        f" searches use {vectors.kept}, by {vectors.kept_model}",
        file=sys.stderr,
    )
    print(f"To remove them, type the property ({name}): ", end="", file=sys.stderr, flush=True)
