"""Companies, departments, jobs, tags, skills, linked in every way; an account of links that uses none of our code."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from byov_migrate import backfill, sandbox
from byov_migrate.config import Config, parse_config
from byov_migrate.jobs.backfill import BackfillResult
from byov_migrate.jobs.rewriting import constraint_statement
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.sync import SyncResult, sync
from tests.acceptance.migration import Target

KEY = "key-of-a-test"
TABLES = """
CREATE TABLE company (id int PRIMARY KEY, name text NOT NULL, remote boolean NOT NULL DEFAULT false);
CREATE TABLE department (company_id int REFERENCES company, code text, title text, PRIMARY KEY (company_id, code));
CREATE TABLE job (
    id bigint PRIMARY KEY, title text, pay float8, city text, skills text[], company_id int, department text,
    parent bigint, office text, embedding real[],
    CONSTRAINT job_company FOREIGN KEY (company_id) REFERENCES company,
    CONSTRAINT job_department FOREIGN KEY (company_id, department) REFERENCES department (company_id, code),
    CONSTRAINT job_parent FOREIGN KEY (parent) REFERENCES job
);
CREATE TABLE tag (id uuid PRIMARY KEY, word text NOT NULL UNIQUE);
CREATE TABLE job_tag (
    job_id bigint REFERENCES job ON DELETE CASCADE, tag_id uuid REFERENCES tag, level int,
    PRIMARY KEY (job_id, tag_id)
);
"""
FILL = """
INSERT INTO company SELECT n, 'company ' || n, n % 3 = 0 FROM generate_series(1, {companies}) AS n;
INSERT INTO department SELECT n, code, code || ' of ' || n
  FROM generate_series(1, {companies}) AS n, unnest(ARRAY['it', 'hr', '10', '']) AS code;
INSERT INTO tag SELECT md5('tag' || n)::uuid, 'word ' || n FROM generate_series(0, 9) AS n;
INSERT INTO job (id, title, pay, city, skills, company_id, department, office, embedding)
SELECT n, 'posting ' || n, 1000 * n, CASE WHEN n % 7 > 0 THEN 'city ' || n % 5 END,
       CASE WHEN n % 4 > 0 THEN ARRAY['skill ' || n % 6, 'skill ' || n % 11, '~odd', ''] END,
       CASE WHEN n % 5 > 0 THEN n % {companies} + 1 END,
       CASE WHEN n % 3 > 0 THEN (ARRAY['it', 'hr', '10', ''])[n % 4 + 1] END,
       'word ' || n % 12, ARRAY[sin(n), cos(n), n, 1]::real[]
  FROM generate_series(1, {jobs}) AS n;
UPDATE job SET parent = CASE id % 3 WHEN 0 THEN id / 3 WHEN 1 THEN id END WHERE id % 3 < 2;
INSERT INTO job_tag SELECT id, md5('tag' || (id + k) % 10)::uuid, NULLIF(id % 4, 0)
  FROM job, generate_series(0, 2) AS k WHERE id % 2 = 0;
"""
_CODE = "CASE WHEN {0} ~ '^[0-9~]' OR {0} = '' THEN '~' ELSE '' END || {0}"
_DEPARTMENT = f"json_build_array(company_id::text, {_CODE})::text"
_WANTED = f"SELECT DISTINCT id::text, {_CODE.format('s')} FROM job, unnest(skills) AS s WHERE s IS NOT NULL"
_IN = f"SELECT id::text, {_DEPARTMENT.format('department')} FROM job WHERE num_nonnulls(company_id, department) = 2"
LINKS: dict[str, tuple[str, str, str]] = {
    "AT": ("job", "company", "SELECT id::text, company_id::text FROM job WHERE company_id IS NOT NULL"),
    "IN": ("job", "department", _IN),
    "UNDER": ("job", "job", "SELECT id::text, parent::text FROM job WHERE parent IS NOT NULL"),
    "OF": ("department", "company", f"SELECT {_DEPARTMENT.format('code')}, company_id::text FROM department"),
    "PLACED": ("job", "city", "SELECT id::text, city FROM job WHERE city IS NOT NULL"),
    "WANTS": ("job", "skill", _WANTED),
    "TAGGED": ("job", "tag", "SELECT job_id::text, tag_id::text FROM job_tag"),
    "SITS": ("job", "tag", "SELECT j.id::text, t.id::text FROM job j JOIN tag t ON t.word = j.office"),
}
"""Type -> source, target, and what SQL says of its pairs of keys."""


@dataclass
class GraphRig:
    """Several tables, nodes and links between PostgreSQL and a RushDB."""

    folder: Path
    dsn: str
    url: str
    key: str = KEY
    suffix: str = ""
    overlay: dict[str, Any] = field(default_factory=dict)
    unused: str = "remove"
    hashed: bool = False  # keys of jobs leave as hashes
    properties: Sequence[str] = ("level",)
    links_wanted: Sequence[str] = tuple(LINKS)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def label(self, name: str) -> str:
        """A label of this rig alone."""
        return f"{name.capitalize()}{self.suffix}"

    def config(self) -> Config:
        """Everything of TABLES."""
        label = self.label
        columns = ["title", "pay", "city"] if self.hashed else ["id", "title", "pay", "city"]
        job = {
            "hash_key_values": self.hashed,
            "columns": columns,
            "embeddings": [{"property": "text", "vector": "embedding"}],
        }
        tables = [
            {"name": "job", "label": label("job"), **job},
            {"name": "company", "label": label("company"), "columns": ["id", "name", "remote"]},
            {"name": "department", "label": label("department"), "columns": ["title"]},
            {"name": "tag", "label": label("tag"), "columns": ["word"]},
        ]
        nodes = [
            {"label": label("city"), "table": "job", "column": "city", "unused": self.unused},
            {"label": label("skill"), "table": "job", "column": "skills", "unused": self.unused},
        ]
        through = {"through": "job_tag", "properties": list(self.properties)}
        links: dict[str, dict[str, Any]] = {
            "AT": {"foreign_key": "public.job.job_company"},
            "IN": {"foreign_key": "job.job_department"},
            "UNDER": {"foreign_key": "job_parent"},
            "OF": {"source": f"{label('department')}.company_id", "target": f"{label('company')}.id"},
            "PLACED": {"source": f"{label('job')}.city", "target": f"{label('city')}.name"},
            "WANTS": {"source": f"{label('job')}.skills", "target": f"{label('skill')}.name"},
            "TAGGED": {"source": label("job"), "target": label("tag"), **through},
            "SITS": {"source": f"{label('job')}.office", "target": f"{label('tag')}.word"},
        }
        content = {
            "source": {"dsn": {"env": "DSN"}},
            "target": {"url": self.url, "api_key": {"env": "KEY"}, "give_up_after": "60s"},
            "tables": tables,
            "nodes": nodes,
            "links": [{"type": kind + self.suffix, **links[kind]} for kind in self.links_wanted],
            **self.overlay,
        }
        return parse_config(content, {}, base=self.folder, stem="graph")

    def around(self, **changed: Any) -> Surroundings:
        """Surroundings with the two secrets."""
        return Surroundings(environment={"DSN": self.dsn, "KEY": self.key}, log=self._log, **changed)

    def _log(self, action: str, **fields: Any) -> None:
        self.events.append((action, fields))

    def backfill(self, **asked: Any) -> BackfillResult:
        """The first load."""
        return backfill(self.config(), surroundings=self.around(), **asked)

    def sync(self, **asked: Any) -> SyncResult:
        """One sync."""
        return sync(self.config(), surroundings=self.around(), **asked)

    def execute(self, statement: str) -> None:
        """Change the source."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement.encode())

    def make_tables(self, *, jobs: int = 60, companies: int = 7) -> None:
        """All tables, filled."""
        self.execute(TABLES)
        self.execute(FILL.format(jobs=jobs, companies=companies))

    def post(self, path: str, body: Any) -> Any:
        """The decoded answer of the target."""
        return self._request("POST", path, body)

    def put(self, path: str, body: Any) -> Any:
        """As `post`."""
        return self._request("PUT", path, body)

    def _request(self, method: str, path: str, body: Any) -> Any:
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.Client(trust_env=False, timeout=120) as client:
            answer = client.request(method, f"{self.url}/api/v1{path}", json=body, headers=headers)
        answer.raise_for_status()
        return answer.json()

    def records(self, name: str) -> dict[str, dict[str, Any]]:
        """Record id -> record of a label."""
        found: dict[str, dict[str, Any]] = {}
        total = 1
        while len(found) < total:
            body = {"labels": [self.label(name)], "orderBy": {"__id": "asc"}, "limit": 1000, "skip": len(found)}
            answer = self.post("/records/search", body)
            total = answer["total"]
            found |= {record["__id"]: record for record in answer["data"]}
        return found

    def links(self, kind: str) -> list[tuple[str, str, dict[str, Any]]]:
        """Source id, target id and properties of every link of a type."""
        found: list[tuple[str, str, dict[str, Any]]] = []
        total = 1
        while len(found) < total:
            body = {"where": {"type": kind + self.suffix}, "limit": 1000, "skip": len(found)}
            answer = self.post("/relationships/search", body)
            total = answer["total"]
            found += [(row["sourceId"], row["targetId"], row["properties"]) for row in answer["data"]]
        return found

    def implied(self, kind: str) -> set[tuple[str, str]]:
        """Pairs of keys that SQL finds."""
        with psycopg.connect(self.dsn) as connection:
            rows = connection.execute(LINKS[kind][2].encode()).fetchall()
        return {(_compact(source), _compact(target)) for source, target in rows}

    def differences(self) -> dict[str, tuple[int, int]]:
        """Type -> links missing and links too many; exact types are left out."""
        ids = {name: self.records(name) for name in ("job", "company", "department", "tag", "city", "skill")}
        found = {}
        for kind in self.links_wanted:
            source, target, _ = LINKS[kind]
            there = [(_key(ids[source], a), _key(ids[target], b)) for a, b, _ in self.links(kind)]
            implied = self.implied(kind)
            pair = (len(implied - set(there)), len(set(there) - implied) + len(there) - len(set(there)))
            if pair != (0, 0):
                found[kind] = pair
        return found

    def make_keys_unique(self) -> None:
        """What RushDB's operator does, for the jobs."""
        if cypher := os.environ.get("BYOV_TEST_NEO4J_CYPHER"):
            subprocess.run([cypher, constraint_statement(self.label("job"))], check=True, stdout=subprocess.DEVNULL)
            return
        body = {"label": self.label("job"), "property": "byovKey"}
        httpx.post(f"{self.url}/__sandbox__/constraints", json=body, trust_env=False).raise_for_status()


def _compact(key: str) -> str:
    return key.replace('", "', '","')


def _key(records: dict[str, dict[str, Any]], record_id: str) -> str:
    return str(records[record_id]["byovKey"]) if record_id in records else f"no record {record_id}"


@contextmanager
def graph_rigged(folder: Path, dsn: str) -> Iterator[GraphRig]:
    """A rig over the RushDB that BYOV_TEST_RUSHDB_URL names, else over a sandbox of its own."""
    if url := os.environ.get("BYOV_TEST_RUSHDB_URL"):
        key = os.environ["BYOV_TEST_RUSHDB_API_KEY"]
        rig = GraphRig(folder, dsn, url.rstrip("/").removesuffix("/api/v1"), key, suffix=f"T{uuid.uuid4().hex[:8]}")
        yield rig
        for name in ("job", "company", "department", "tag", "city", "skill"):
            Target(rig.url, key, is_sandbox=False).clear(rig.label(name))
        return
    with sandbox.running(folder / "sandbox", KEY) as target:
        yield GraphRig(folder, dsn, target.url)
