"""`init`: a first configuration, proposed from what the database holds.

job ──► source (survey, sampling) ──► judging ──► proposal, joining ──► writing
"""

from __future__ import annotations

from byov_migrate.jobs.init.job import InitResult, init

__all__ = ["InitResult", "init"]
