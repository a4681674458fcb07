"""Real job postings and occupations with a real model: all of it arrives, and an independent client reads it back.

BYOV_TEST_POSTINGS sets the number of postings.
"""

from __future__ import annotations

import datetime as dt
import random
import sqlite3
from decimal import Decimal
from typing import Any

import numpy as np
import psycopg
import pytest
from rushdb import RushDB  # type: ignore[import-untyped]  # the SDK carries no types

from byov_migrate.digests import SCORE_TOLERANCE, Digests
from tests.acceptance.migration import Migration
from tests.acceptance.test_search import POSTING_TABLES, POSTINGS, postings
from tests.models import real_model

__all__ = ["postings"]

COLUMNS = ("id", "title", "company", "location", "salary_min", "salary_max", "skills", "created_at", "updated_at")
SAMPLE = 100
OCCUPATIONS = """
[[tables]]
name = "occupation"
label = "{label}Occupation"
columns = ["code", "label", "alt_labels"]
where = ["code ~ 25"]
[[tables.embeddings]]
property = "description"
text = "{label}\\n{description}"
model = "small"
"""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_posting_arrives_with_its_vector(postings: Migration) -> None:
    """Counts equal, every key once, every probe score right; 100 random records read by the official SDK are equal."""
    occupations = OCCUPATIONS.replace("{label}Occupation", f"{postings.label}Occupation")
    head = POSTING_TABLES.replace("{model}", str(real_model()))
    postings.write(head + occupations.replace("text = ", "text = "))

    done = postings.run("backfill")

    assert done.returncode == 0, done.stderr
    keys = [record["byovKey"] for record in postings.target.records(postings.label)]
    assert len(keys) == len(set(keys)) == POSTINGS
    assert wrong_scores(postings, "posting", postings.label) == []
    assert wrong_scores(postings, "occupation", f"{postings.label}Occupation") == []
    assert differing(postings) == []
    assert worst_cosine(postings) >= 0.999
    postings.target.clear(f"{postings.label}Occupation")


def wrong_scores(migration: Migration, table: str, label: str) -> list[str]:
    """Keys whose vector is missing in the target, or scores otherwise against a probe than the state recorded."""
    key = bytes.fromhex(migration.state.with_name("job.hash-key").read_text(encoding="ascii").strip())
    probes = Digests(key).probes(384)
    with sqlite3.connect(migration.state) as state:
        query = "select key, score_0, score_1, score_2 from vector where table_name = ?"
        recorded = {name: scores for name, *scores in state.execute(query, (table,))}
    wrong = []
    for number, probe in enumerate(probes):
        found = migration.target.scores(label, "description", probe.tolist(), len(recorded))
        wrong += [name for name in recorded if name not in found or len(found[name]) != 1]
        wrong += [
            name
            for name, scores in recorded.items()
            if name in found and abs(found[name][0] - scores[number]) > SCORE_TOLERANCE
        ]
        wrong += [name for name in found if name not in recorded]
    return wrong


def differing(migration: Migration) -> list[tuple[int, str]]:
    """Key and property of what the official SDK reads otherwise than PostgreSQL has it, in a random sample."""
    names = {"salary_min": "salaryMin", "salary_max": "salaryMax"}
    with psycopg.connect(migration.dsn) as connection:
        ids = [row[0] for row in connection.execute("select id from posting order by id")]
        chosen = random.Random(3).sample(ids, min(SAMPLE, len(ids)))  # noqa: S311 - no secret
        query = f"select {', '.join(COLUMNS)} from posting where id = any(%s)"
        rows = {row[0]: row for row in connection.execute(query, (chosen,))}
    client = RushDB(migration.target.key, base_url=f"{migration.target.url}/api/v1")
    different = []
    for key in chosen:
        result = client.records.find({"labels": [migration.label], "where": {"id": key}})
        data = [record.data for record in result]
        assert len(data) == 1
        for column, value in zip(COLUMNS, rows[key], strict=True):
            if data[0].get(names.get(column, column)) != as_sent(value):
                different.append((key, column))
    return different


def as_sent(value: Any) -> Any:
    """A value of PostgreSQL as the record should hold it."""
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
    return float(value) if isinstance(value, Decimal) else value


def worst_cosine(migration: Migration, sample: int = 24) -> float:
    """The lowest cosine between a stored vector and what plain sentence-transformers in float32 makes of its text."""
    from sentence_transformers import SentenceTransformer

    with psycopg.connect(migration.dsn) as connection:
        rows = connection.execute(
            "select id, title || E'\\n' || description from posting order by md5(id::text) limit %s", (sample,)
        ).fetchall()
    model = SentenceTransformer(str(real_model()), device="cpu", local_files_only=True)
    vectors = np.asarray(model.encode([text for _, text in rows], normalize_embeddings=True), dtype=np.float32)
    worst = 1.0
    for (key, _), vector in zip(rows, vectors, strict=True):
        body = {"labels": [migration.label], "propertyName": "description", "queryVector": vector.tolist()}
        answer = migration.target.post(
            "/ai/search", {**body, "sourceType": "external", "where": {"byovKey": str(key)}, "limit": 1}
        )
        worst = min(worst, 2 * answer["data"][0]["__score"] - 1)
    return worst
