"""Search on real job postings: local text beside each hit, filters kept, small labels found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from tests.acceptance.migration import VECTOR_TABLE, Migration, make_vector_table
from tests.models import real_model

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "load.py"
POSTINGS = int(os.environ.get("BYOV_TEST_POSTINGS", "120"))
TITLES = int(os.environ.get("BYOV_TEST_TITLES", "3"))

POSTING_TABLES = """
[models.small]
path = "{model}"
[[tables]]
name = "posting"
label = "{label}"
columns = [
  "id", "title", "company", "location", "salary_min", "salary_max", "skills", "created_at", "updated_at", "department",
]
rename = { salary_min = "salaryMin", salary_max = "salaryMax" }
[[tables.embeddings]]
property = "description"
text = "{title}\\n{description}"
model = "small"
"""


@pytest.fixture
def postings(migration: Migration) -> Migration:
    """The real postings, loaded and configured."""
    if not DATA.exists():
        pytest.skip("the sample postings are not beside the checkout")
    subprocess.run([sys.executable, str(DATA), migration.dsn, "--rows", str(POSTINGS)], check=True, capture_output=True)
    migration.write(POSTING_TABLES.replace("{model}", str(real_model())))
    return migration


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_real_postings_are_found_by_their_titles(postings: Migration) -> None:
    """A posting's own title finds it or its like: hits carry local text, and with --where none violates the filter."""
    done = postings.run("backfill", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tables"][0]["rows_stored"] == POSTINGS
    with psycopg.connect(postings.dsn) as connection:
        titles = connection.execute("select id, title from posting order by id limit %s", (TITLES,)).fetchall()
    found = 0
    for key, title in titles:
        hits = search(postings, title, "--limit", "10", "--exact")
        found += str(key) in [hit["key"] for hit in hits] or title in [hit["properties"]["title"] for hit in hits]
        assert all(hit["text"] for hit in hits)
        limited = search(
            postings, title, "--where", "salaryMin >= 10000", "--where", "location ~ addis", "--limit", "5"
        )
        assert all(hit["properties"]["salaryMin"] >= 10000 for hit in limited)
        assert all("addis" in hit["properties"]["location"].lower() for hit in limited)
    assert found >= 0.9 * len(titles), f"{found} of {len(titles)}"


def search(migration: Migration, text: str, *options: str) -> list[dict[str, Any]]:
    """The hits of one search by the installed command."""
    done = migration.run("search", text, "--json", *options)
    assert done.returncode == 0, done.stderr
    hits: list[dict[str, Any]] = json.loads(done.stdout)["hits"]
    return hits


@pytest.mark.slow
def test_a_small_label_beside_many_foreign_vectors_is_found(migration: Migration) -> None:
    """The index is shared by all labels of one size and may answer with nothing; the exact path then finds the rows."""
    crowd = int(os.environ.get("BYOV_TEST_CROWD", "5000"))
    make_vector_table(migration.dsn, crowd, 384)
    migration.write(VECTOR_TABLE)
    assert migration.run("backfill").returncode == 0
    small = Migration(migration.folder.with_name("small"), migration.dsn, migration.target)
    with psycopg.connect(migration.dsn) as connection:
        connection.execute("create table few (id int primary key, name text, embedding real[])")
        # All in one corner, opposite to nothing: far from any query among the crowd's random vectors.
        for number in range(20):
            vector = np.random.default_rng(number).standard_normal(384) - 3
            connection.execute("insert into few values (%s, %s, %s)", (number, f"few {number}", vector.tolist()))
    table = VECTOR_TABLE.replace('"item"', '"few"').replace('"id", "name", "price", "made", "tags"', '"id", "name"')
    small.write(f'[models.small]\npath = "{real_model()}"\n{table}text = "{{name}}"\nmodel = "small"\n')
    assert small.run("backfill").returncode == 0

    hits = search(small, "anything at all", "--limit", "10")

    small.target.clear(small.label)
    assert len(hits) == 10
    assert all(hit["text"] for hit in hits)
