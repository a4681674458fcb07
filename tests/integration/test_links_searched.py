"""Searches with filters across links, against what SQL and numpy answer from the source."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import psycopg
import pytest

from byov_migrate.filters import parse_filter
from byov_migrate.jobs.search import search
from tests.graph_rig import GraphRig, graph_rigged
from tests.postgres import fresh_database

JOBS = 120
DIMENSION = 16
LIMIT = 7
REMOTE = "(SELECT remote FROM company c WHERE c.id = company_id)"
SEARCHES = [
    (["city = city 3"], "city = 'city 3'"),
    (["Company.remote = true"], REMOTE),
    (['Company.name = "company 4"', "pay >= 40000"], "company_id = 4 AND pay >= 40000"),
    (["Company.name ~ company", "Department.title ~ hr"], "company_id IS NOT NULL AND department = 'hr'"),
    (["Department.title in (it of 2, hr of 5)"], "(company_id, department) IN ((2, 'it'), (5, 'hr'))"),
    (["City.name = city 1", "pay < 90000"], "city = 'city 1' AND pay < 90000"),
    (["Skill.name = skill 3"], "'skill 3' = ANY (skills)"),
    (
        ["Skill.name in (skill 1, skill 2)", "Company.remote = false"],
        f"skills && ARRAY['skill 1', 'skill 2'] AND NOT {REMOTE}",
    ),
    (
        ["City.name != city 0", "Department.title ~ it"],
        "city <> 'city 0' AND department = 'it' AND company_id IS NOT NULL",
    ),
    (
        ["Company.remote = true", "Skill.name ~ skill", "pay > 20000"],
        f"{REMOTE} AND skills IS NOT NULL AND pay > 20000",
    ),
]


@pytest.fixture(scope="module")
def linked(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphRig]:
    """Jobs with random vectors, linked; no test may change them."""
    with (
        fresh_database(postgres) as dsn,
        graph_rigged(tmp_path_factory.mktemp("linked"), dsn) as rig,
        psycopg.connect(dsn, autocommit=True) as connection,
    ):
        rig.make_tables(jobs=JOBS)
        random = np.random.default_rng(7)
        for number in range(1, JOBS + 1):
            vector = random.standard_normal(DIMENSION).astype(np.float32).tolist()
            connection.execute("UPDATE job SET embedding = %s WHERE id = %s", (vector, number))
        rig.backfill()
        yield rig


def nearest(rig: GraphRig, key: int, condition: str) -> list[str]:
    """Brute force."""
    with psycopg.connect(rig.dsn) as connection:
        rows = connection.execute(
            f"SELECT id, embedding FROM job WHERE {condition} AND id <> {key}".encode()
        ).fetchall()
        [(query,)] = connection.execute("SELECT embedding FROM job WHERE id = %s", (key,)).fetchall()
    vectors = np.array([row[1] for row in rows], dtype=np.float64).reshape(-1, DIMENSION)
    cosines = vectors @ np.array(query) / np.linalg.norm(vectors, axis=1) if rows else np.zeros(0)
    return [str(rows[place][0]) for place in np.argsort(-cosines)[:LIMIT]]


@pytest.mark.parametrize(("filters", "condition"), SEARCHES, ids=[", ".join(item[0]) for item in SEARCHES])
def test_a_search_across_links_answers_as_brute_force_does(
    linked: GraphRig, filters: list[str], condition: str
) -> None:
    """A filter makes a search exact, so the same keys come, in the same order."""
    for key in (5, 60):
        named = [_with_own_labels(linked, text) for text in filters]
        found = search(
            linked.config(),
            like=str(key),
            where=[parse_filter(text) for text in named],
            limit=LIMIT,
            surroundings=linked.around(),
        )
        assert [hit.key for hit in found.hits] == nearest(linked, key, condition)


def _with_own_labels(rig: GraphRig, text: str) -> str:
    for name in ("company", "department", "city", "skill"):
        text = text.replace(f"{name.capitalize()}.", f"{rig.label(name)}.")
    return text
