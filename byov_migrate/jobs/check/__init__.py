"""`check`: everything that a run would stumble over, found before it.

job ──► source_side (tables, links), target_side (labels), state_side, model_side, clocks ──► findings
"""

from __future__ import annotations

from byov_migrate.jobs.check.findings import CheckResult, Finding
from byov_migrate.jobs.check.job import check, unreadable

__all__ = ["CheckResult", "Finding", "check", "unreadable"]
