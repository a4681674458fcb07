"""Postings with three embeddings, moved to a sandbox and linked there: what searches are tried on.

Nodes and links are made by requests of our own, so that searches across links stand on nothing but RushDB.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg

from byov_migrate import backfill, load_config, sandbox
from byov_migrate.config import Config
from byov_migrate.jobs.search import SearchResult, search
from byov_migrate.jobs.surroundings import Surroundings
from tests.models import make_tiny_model

KEY = "key-of-a-test"
ROWS = 40
SMALL, OTHER, SEEN = 32, 48, 64
PLACES = ("Berlin", "Bonn", "Köln")
COMPANIES = ("Acme", 'O\'Neill & "Sons"', "Zet")
COMMAND = Path(sys.executable).with_name("byov-migrate")
TABLES = f"""
CREATE TABLE agency (id int PRIMARY KEY, name text, head_count int);
INSERT INTO agency VALUES (1, 'North', 5), (2, 'South', 50);
CREATE TABLE job (
    id int PRIMARY KEY, title text, company text, location text, salary_min int, agency_id int, description text,
    updated_at timestamptz, picture real[], secret text DEFAULT 'for the owner alone'
);
INSERT INTO job SELECT n, 'posting ' || chr(97 + n % 26), (ARRAY['Acme', 'O''Neill & "Sons"', 'Zet'])[n % 3 + 1],
       (ARRAY['Berlin', 'Bonn', 'Köln'])[n / 3 % 3 + 1], 1000 * n, n % 2 + 1,
       'work ' || n || ' in the team ' || chr(97 + n % 7), '2026-01-31 10:00+00',
       CASE WHEN n = 7 THEN NULL ELSE ARRAY(SELECT sin(n * i) FROM generate_series(1, {SEEN}) i) END
  FROM generate_series(1, {ROWS}) n;
UPDATE job SET description = NULL, title = NULL WHERE id = 9;
UPDATE job SET agency_id = NULL WHERE id = 8;
"""
CONFIGURATION = """
[source]
dsn = {{ env = "DATABASE_URL" }}

[target]
url = {{ env = "RUSHDB_URL" }}
api_key = {{ env = "RUSHDB_API_KEY" }}

[models.small]
path = "{small}"
query_prompt = "query: "
document_prompt = "team: "

[models.other]
path = "{other}"

[models.seen]
path = "{seen}"

[[tables]]
name = "public.job"
label = "Job"
columns = ["id", "title", "company", "location", "salary_min", "agency_id"]
rename = {{ salary_min = "salaryMin" }}

[[tables.embeddings]]
property = "description"
text = "{{title}}\\n{{description}}"
model = "small"

[[tables.embeddings]]
property = "titleOnly"
text = "{{title}}"
model = "other"

[[tables.embeddings]]
property = "picture"
vector = "picture"
model = "seen"

[[tables]]
name = "public.agency"
label = "Agency"
columns = ["id", "name", "head_count"]
rename = {{ head_count = "headCount" }}
"""
NODES = """
[[nodes]]
label = "Company"
table = "public.job"
column = "company"
property = "name"

[[links]]
type = "POSTED_BY"
source = "Job.company"
target = "Company.name"
"""


@dataclass(frozen=True)
class SearchRig:
    """A folder with `jobs.toml`, its ends, and an account of what is nearest that uses none of their code."""

    folder: Path
    dsn: str
    url: str
    key: str = field(default=KEY, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """What the configuration refers to."""
        return {"DATABASE_URL": self.dsn, "RUSHDB_URL": self.url, "RUSHDB_API_KEY": self.key}

    def around(self) -> Surroundings:
        """Surroundings with these."""
        return Surroundings(environment=self.environment)

    def config(self, *changes: tuple[str, str]) -> Config:
        """The configuration with texts replaced, kept beside the real one so that it belongs to the same state."""
        path, text = self.folder / "jobs.toml", (self.folder / "jobs.toml").read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
            path = self.folder / "changed.toml"
        path.write_text(f'name = "jobs"\n{text}' if changes else text, encoding="utf-8")
        return load_config(path, self.environment)

    def search(self, text: str | None = None, **options: Any) -> SearchResult:
        """A search with the configuration as it is."""
        return search(self.config(), text, surroundings=self.around(), **options)

    def keys(self, text: str | None = None, **options: Any) -> list[str]:
        """Keys of its hits, best first."""
        return [hit.key for hit in self.search(text, **options).hits]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A program in the folder: `byov-migrate`, `curl` and the like as one would type them."""
        variables = {**self.environment, "HOME": str(self.folder), **environment}
        variables["PATH"] = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            arguments, cwd=self.folder, env=variables, capture_output=True, text=True, check=False, timeout=240
        )

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The decoded answer of RushDB."""
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.Client(trust_env=False, timeout=60) as client:
            answer = client.post(f"{self.url}/api/v1{path}", json=body, headers=headers)
        answer.raise_for_status()
        return answer.json()

    def join(self, key: str, label: str, label_key: str, kind: str) -> None:
        """Link postings by equal values."""
        ends = {"source": {"label": "Job", "key": key}, "target": {"label": label, "key": label_key}}
        self.post("/relationships/create-many", {**ends, "type": kind, "direction": "out"})

    def rows(self, condition: str) -> set[str]:
        """Keys of the rows that fulfil a condition of SQL and have a text."""
        query = f"SELECT id FROM job WHERE ({condition}) AND description IS NOT NULL"
        with psycopg.connect(self.dsn) as connection:
            return {str(row[0]) for row in connection.execute(query)}

    def nearest_pictures(self, query: Sequence[float]) -> list[str]:
        """Keys in order of the cosine of their ready vectors."""
        with psycopg.connect(self.dsn) as connection:
            rows = connection.execute("SELECT id, picture FROM job WHERE picture IS NOT NULL").fetchall()
        asked = np.asarray(query, dtype=np.float64)

        def cosine(vector: Sequence[float]) -> float:
            return float(np.dot(vector, asked) / np.linalg.norm(vector))

        return [str(key) for key, vector in sorted(rows, key=lambda row: -cosine(row[1]))]


@contextmanager
def search_rig(folder: Path, dsn: str) -> Iterator[SearchRig]:
    """Everything moved and linked."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(TABLES)
    models = {
        "small": make_tiny_model(folder / "small", SMALL, seed=1),
        "other": make_tiny_model(folder / "other", OTHER, seed=2),
        "seen": make_tiny_model(folder / "seen", SEEN, seed=3),
    }
    (folder / "jobs.toml").write_text(CONFIGURATION.format(**models), encoding="utf-8")
    with sandbox.running(folder / "sandbox", KEY) as target:
        rig = SearchRig(folder, dsn, target.url)
        assert backfill(rig.config(), surroundings=rig.around()).exit_code == 0
        companies = [{"byovKey": name, "name": name} for name in COMPANIES]
        rig.post("/records/import/json", {"label": "Company", "data": companies, "options": {"suggestTypes": True}})
        rig.join("company", "Company", "name", "POSTED_BY")
        rig.join("agency_id", "Agency", "id", "BY_AGENCY")
        (folder / "jobs.toml").write_text(CONFIGURATION.format(**models) + NODES, encoding="utf-8")
        yield rig
