"""A verify's result and what stands behind it as one page that needs nothing else: no script, no font, no network."""

from __future__ import annotations

from byov_migrate.report.evidence.page import render
from byov_migrate.report.evidence.writing import require_ready, write_page

__all__ = ["render", "require_ready", "write_page"]
