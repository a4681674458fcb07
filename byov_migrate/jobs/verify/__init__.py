"""Proof that the target equals the source: rows, values, vectors, links, and that what is withheld is not there."""

from __future__ import annotations

from byov_migrate.jobs.verify.job import verify
from byov_migrate.jobs.verify.results import (
    SampleProof,
    TableVerification,
    Verification,
    read_report,
    reported_keys,
    to_report,
)

__all__ = [
    "SampleProof",
    "TableVerification",
    "Verification",
    "read_report",
    "reported_keys",
    "to_report",
    "verify",
]
