"""A better model beside the one in use: a second set of vectors, filled, kept current, compared, switched to."""

from __future__ import annotations

from byov_migrate.jobs.reembed.filling import ReembedResult, TableReembed, reembed
from byov_migrate.jobs.reembed.turning import DropResult, Switched, SwitchResult, Vectors, drop, switch

__all__ = [
    "DropResult",
    "ReembedResult",
    "SwitchResult",
    "Switched",
    "TableReembed",
    "Vectors",
    "drop",
    "reembed",
    "switch",
]
