"""Search by meaning: the query is embedded here, RushDB ranks, and the text beside each hit comes from PostgreSQL."""

from __future__ import annotations

from byov_migrate.jobs.search.calls import LANGUAGES, ApplicationCall, Language
from byov_migrate.jobs.search.choosing import Searched, choose, query_model, require_stored_model, stored_fingerprint
from byov_migrate.jobs.search.job import Options, has_vector, print_call, search
from byov_migrate.jobs.search.results import Explanation, Hit, SearchResult, Seconds

__all__ = [
    "LANGUAGES",
    "ApplicationCall",
    "Explanation",
    "Hit",
    "Language",
    "Options",
    "SearchResult",
    "Searched",
    "Seconds",
    "choose",
    "has_vector",
    "print_call",
    "query_model",
    "require_stored_model",
    "search",
    "stored_fingerprint",
]
