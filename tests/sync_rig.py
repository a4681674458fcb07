"""A table that changes, a RushDB, a configuration that joins them; an account of both that uses none of its code."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
from numpy.typing import NDArray

from byov_migrate import backfill, sandbox
from byov_migrate.config import Config, parse_config
from byov_migrate.jobs.backfill import BackfillResult
from byov_migrate.jobs.dry_run import TableForecast, forecast_sync
from byov_migrate.jobs.rewriting import constraint_statement
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.sync import TableSync, sync
from byov_migrate.state import State, open_state
from tests.acceptance.migration import Target

KEY = "key-of-a-test"
DIMENSION = 4
TOLERANCE = 2e-7
TABLE = """
CREATE TABLE job (
    id int PRIMARY KEY, title text, pay float8, status text NOT NULL DEFAULT 'open', hits int NOT NULL DEFAULT 0,
    changed timestamptz NOT NULL DEFAULT now(), embedding real[]
)
"""
FILL = """
INSERT INTO job (id, title, pay, embedding)
SELECT n, 'posting ' || n, n * 1.5, ARRAY[sin(n), cos(n), n, 1]::real[] FROM generate_series(%s::int, %s::int) AS n
"""


@dataclass(frozen=True)
class Difference:
    """How the target differs from the source, in numbers of keys."""

    missing: int = 0
    extra: int = 0
    doubled: int = 0
    different: int = 0
    vectors_missing: int = 0
    vectors_stale: int = 0


EXACT = Difference()


@dataclass
class SyncRig:
    """Backfill, change, sync, compare. `table`, `state`, `target` overlay the configuration."""

    folder: Path
    dsn: str
    url: str
    key: str = KEY
    label: str = "Job"
    table: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    patience: str = "60s"
    now: float | None = None  # seconds since 1970; None: the clock's

    def config(self) -> Config:
        """One table with ready vectors, unless changed."""
        plain = {
            "name": "public.job",
            "label": self.label,
            "columns": ["id", "title", "pay", "status"],
            "embeddings": [{"property": "description", "vector": "embedding"}],
        }
        content = {
            "source": {"dsn": {"env": "DSN"}},
            "target": {"url": self.url, "api_key": {"env": "KEY"}, "give_up_after": self.patience, **self.target},
            "state": self.state,
            "models": self.models,
            "tables": [{**plain, **self.table}],
        }
        return parse_config(content, {}, base=self.folder, stem="jobs")

    def around(self, **changed: Any) -> Surroundings:
        """Surroundings with the two secrets."""
        environment = {"DSN": self.dsn, "KEY": self.key}
        clock = {} if self.now is None else {"clock": lambda: self.now or 0.0}
        return Surroundings(environment=environment, log=self._log, **{**clock, **changed})

    def _log(self, action: str, **fields: Any) -> None:
        self.events.append((action, fields))

    def backfill(self) -> BackfillResult:
        """The first load."""
        return backfill(self.config(), surroundings=self.around())

    def sync(self, *, surroundings: Surroundings | None = None, **asked: Any) -> TableSync:
        """One sync, and what it did with the table."""
        [table] = sync(self.config(), surroundings=surroundings or self.around(), **asked).tables
        return table

    def forecast(self, **options: Any) -> TableForecast:
        """What a sync would do."""
        [table] = forecast_sync(self.config(), surroundings=self.around(), **options).tables
        return table

    def opened_state(self) -> State:
        """The state, to be looked at."""
        around = self.around()
        return open_state(self.config().state_path, around.clock, create=False)

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        """Change the source."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement, parameters)

    def make_table(self, rows: int) -> None:
        """Table `job` with rows 1 to `rows`."""
        self.execute(TABLE)
        self.execute(FILL, (1, rows))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The decoded answer of the target."""
        return self.call("POST", path, body)

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """As `post`, by any method."""
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.Client(trust_env=False, timeout=120) as client:
            answer = client.request(method, f"{self.url}/api/v1{path}", json=body, headers=headers)
        answer.raise_for_status()
        return answer.json()

    def records(self) -> list[dict[str, Any]]:
        """Every record of ours."""
        found: list[dict[str, Any]] = []
        total = 1
        while len(found) < total:
            where = {"byovKey": {"$exists": True}}
            body = {"labels": [self.label], "where": where, "orderBy": {"__id": "asc"}, "limit": 1000}
            answer = self.post("/records/search", {**body, "skip": len(found)})
            total = answer["total"]
            found += answer["data"]
        return found

    def ids(self) -> dict[str, str]:
        """`byovKey` -> record id."""
        return {record["byovKey"]: record["__id"] for record in self.records()}

    def indexes(self) -> list[dict[str, Any]]:
        """The label's, as RushDB tells them."""
        return [index for index in self.call("GET", "/ai/indexes")["data"] if index["label"] == self.label]

    def delete_index(self, property_name: str = "description") -> None:
        """What an operator does, or a script that tidies up."""
        [index] = [index for index in self.indexes() if index["propertyName"] == property_name]
        self.call("DELETE", f"/ai/indexes/{index['id']}")

    def make_keys_unique(self) -> None:
        """What RushDB's operator does: of a real one with the program that BYOV_TEST_NEO4J_CYPHER names."""
        if cypher := os.environ.get("BYOV_TEST_NEO4J_CYPHER"):
            subprocess.run([cypher, constraint_statement(self.label)], check=True, stdout=subprocess.DEVNULL)
            return
        body = {"label": self.label, "property": "byovKey"}
        httpx.post(f"{self.url}/__sandbox__/constraints", json=body, trust_env=False).raise_for_status()

    def compare(self, condition: str = "true") -> Difference:
        """The rows of the condition against the records: keys, properties, vectors."""
        expected: dict[str, dict[str, Any]] = {}
        vectors: dict[str, list[float]] = {}
        with psycopg.connect(self.dsn) as connection:
            query = f"SELECT id, title, pay, status, embedding FROM job WHERE {condition}"
            for number, title, pay, status, embedding in connection.execute(query):
                row = {"id": number, "title": title, "pay": pay, "status": status}
                expected[str(number)] = {name: value for name, value in row.items() if value is not None}
                if embedding is not None:
                    vectors[str(number)] = embedding
        found: dict[str, list[dict[str, Any]]] = {}
        for record in self.records():
            found.setdefault(record["byovKey"], []).append(record)
        scores, query_vector = self._scores(len(found))
        return Difference(
            missing=len(expected.keys() - found.keys()),
            extra=len(found.keys() - expected.keys()),
            doubled=sum(len(records) > 1 for records in found.values()),
            different=sum(_own(found[key][0]) != row for key, row in expected.items() if key in found),
            vectors_missing=len(vectors.keys() - scores.keys()),
            vectors_stale=len(scores.keys() - vectors.keys())
            + sum(
                abs(scores[key] - _score(vector, query_vector)) > TOLERANCE
                for key, vector in vectors.items()
                if key in scores
            ),
        )

    def _scores(self, rows: int) -> tuple[dict[str, float], NDArray[np.float64]]:
        query = np.random.default_rng(5).standard_normal(DIMENSION).astype(np.float32)
        body = {"labels": [self.label], "propertyName": "description", "queryVector": query.tolist(), "skip": 0}
        where = {"byovKey": {"$exists": True}}
        answer = self.post("/ai/search", {**body, "sourceType": "external", "where": where, "limit": rows + 1000})
        return {record["byovKey"]: record["__score"] for record in answer["data"]}, query.astype(np.float64)


@contextmanager
def rigged(folder: Path, dsn: str) -> Iterator[SyncRig]:
    """A rig over the RushDB that BYOV_TEST_RUSHDB_URL names, else over a sandbox of its own."""
    if url := os.environ.get("BYOV_TEST_RUSHDB_URL"):
        key = os.environ["BYOV_TEST_RUSHDB_API_KEY"]
        rig = SyncRig(folder, dsn, url.rstrip("/").removesuffix("/api/v1"), key, label=f"T{uuid.uuid4().hex[:10]}")
        yield rig
        Target(rig.url, key, is_sandbox=False).clear(rig.label)
        return
    with sandbox.running(folder / "sandbox", KEY) as target:
        yield SyncRig(folder, dsn, target.url)


def _own(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name in ("id", "title", "pay", "status")}


def _score(vector: Sequence[float], query: NDArray[np.float64]) -> float:
    a = np.asarray(vector, dtype=np.float32).astype(np.float64)
    return float((1 + a @ query / np.linalg.norm(a) / np.linalg.norm(query)) / 2)
