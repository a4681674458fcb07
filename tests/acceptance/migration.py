"""A migration run by the installed command, and an account of both ends that uses none of its code."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import subprocess
import sys
import time
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
from numpy.typing import NDArray

from tests.acceptance.canaries import CANARY, plant

COMMAND = str(Path(sys.executable).with_name("byov-migrate"))
SCORE_TOLERANCE = 2e-7
PAGE = 1000


@dataclass(frozen=True)
class Target:
    """A RushDB: the sandbox, or the one that the environment names."""

    url: str
    key: str = field(repr=False)
    is_sandbox: bool = True

    def post(self, path: str, body: Mapping[str, Any], timeout_s: float = 120) -> Any:
        """The decoded answer of a request; raises for anything but success."""
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.Client(trust_env=False, timeout=timeout_s) as client:
            answer = client.post(f"{self.url}/api/v1{path}", json=body, headers=headers)
        answer.raise_for_status()
        return answer.json()

    def records(self, label: str) -> Iterator[dict[str, Any]]:
        """Every record of a label, by pages in order of id."""
        skip, total = 0, 1
        while skip < total:
            body = {"labels": [label], "where": {}, "orderBy": {"__id": "asc"}, "limit": PAGE, "skip": skip}
            answer = self.post("/records/search", body)
            total = answer["total"]
            yield from answer["data"]
            skip += PAGE

    def scores(self, label: str, property_name: str, query: Sequence[float], rows: int) -> dict[str, list[float]]:
        """`byovKey` -> scores of all its records in an exact search."""
        where = {"byovKey": {"$exists": True}}
        body = {"labels": [label], "propertyName": property_name, "queryVector": list(query), "where": where}
        answer = self.post("/ai/search", {**body, "sourceType": "external", "limit": rows + PAGE, "skip": 0})
        found: dict[str, list[float]] = {}
        for record in answer["data"]:
            found.setdefault(record["byovKey"], []).append(record["__score"])
        return found

    def clear(self, label: str) -> None:
        """Remove what a test left: the label's records and its marker."""
        for _ in range(20):
            with contextlib.suppress(httpx.HTTPStatusError):  # a large label takes more than the server's time budget
                self.post("/records/delete", {"labels": [label], "where": {"byovKey": {"$exists": True}}})
                break
        self.post("/records/delete", {"labels": ["ByovMigration"], "where": {"byovKey": label}})


@dataclass
class Migration:
    """One configuration in one folder. `label` is new for each, so that tests can share a target.

    Whatever text a configuration withholds gets a canary when it is written; `dsn` may change, `own_dsn` leads there.
    """

    folder: Path
    dsn: str
    target: Target
    label: str = field(default_factory=lambda: f"T{uuid.uuid4().hex[:10]}")
    name: str = "job"
    own_dsn: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        self.own_dsn = self.own_dsn or self.dsn

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / f"{self.name}.toml"

    @property
    def state(self) -> Path:
        """The state file."""
        return self.folder / f"{self.name}.state.db"

    def write(self, tables: str, *, target: str = "", url: str | None = None) -> None:
        """Write the configuration; `{label}` in `tables` becomes the label."""
        self.folder.mkdir(exist_ok=True)
        for name, secret in (("dsn", self.dsn), ("key", self.target.key)):
            path = self.folder / name
            path.touch(mode=0o600)
            path.write_text(secret, encoding="utf-8")
        head = f'[source]\ndsn = {{ file = "dsn" }}\n[target]\nurl = "{url or self.target.url}"\n'
        head += f'api_key = {{ file = "key" }}\n{target}\n'
        content = head + tables.replace("{label}", self.label)
        self.config.write_text(content, encoding="utf-8")
        with contextlib.suppress(tomllib.TOMLDecodeError):  # a test may want a broken one
            plant(self.own_dsn, tomllib.loads(content))

    def start(self, *arguments: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> Process:
        """The command in the background, its output in pipes."""
        variables = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **(environment or {})}
        return subprocess.Popen(
            [COMMAND, *arguments, "-c", str(self.config)],
            cwd=cwd or self.folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *arguments: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The command to its end."""
        process = self.start(*arguments, cwd=cwd, environment=environment)
        out, err = process.communicate(timeout=3000)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


Process = subprocess.Popen[str]


def kill_after(process: Process, seconds: float) -> bool:
    """SIGKILL after a while; False when it had ended by itself."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        time.sleep(0.005)
    survived = process.poll() is None
    process.kill()
    process.communicate()
    return survived


def make_vector_table(dsn: str, rows: int, dimension: int, *, seed: int = 7) -> dict[str, NDArray[np.float32]]:
    """Table `item` with ready vectors, every 50th row without one; key -> vector of the others.

    Its column `note` holds a canary and must stay where it is.
    """
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((rows, dimension)).astype(np.float32)
    kept = {}
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "create table item (id bigint primary key, name text not null, price numeric(10,2), made timestamptz,"
            " tags text[] not null, note text not null, embedding real[])"
        )
        with connection.cursor().copy("copy item from stdin") as copy:
            for number in range(rows):
                key = 3 * number - 50
                vector = None if number % 50 == 7 else vectors[number].tolist()
                made = f"2024-01-{number % 28 + 1:02d} 10:00:00.{number % 1000:03d}+00"
                tags, note = [f"tag{number % 5}", "all"], f"{CANARY} is noted of item {number} {CANARY}"
                copy.write_row((key, f"item {number}", number / 4, made, tags, note, vector))
                if vector is not None:
                    kept[str(key)] = vectors[number]
    return kept


VECTOR_TABLE = """
[[tables]]
name = "item"
label = "{label}"
columns = ["id", "name", "price", "made", "tags"]
[[tables.embeddings]]
property = "description"
vector = "embedding"
"""
VECTOR_TABLE_WITH_TEXT = f'{VECTOR_TABLE}text = "{{note}}"\n'


@dataclass(frozen=True)
class Account:
    """What is wrong in the target, counted."""

    missing: int
    extra: int
    doubled: int
    different: int
    vectors_missing: int
    vectors_wrong: int

    @property
    def is_exact(self) -> bool:
        """Nothing is wrong."""
        return self == Account(0, 0, 0, 0, 0, 0)


def compare_items(migration: Migration, vectors: Mapping[str, NDArray[np.float32]]) -> Account:
    """Table `item` against the label, property by property and vector by vector, by a query of our own."""
    return compare_records(migration, *compare_vectors(migration, vectors))


def compare_records(migration: Migration, vectors_missing: int, vectors_wrong: int) -> Account:
    """Table `item` against the label, property by property; vectors were compared before."""
    expected = {}
    with psycopg.connect(migration.dsn) as connection:
        for key, name, price, made, tags in connection.execute("select id, name, price, made, tags from item"):
            instant = made.astimezone(tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
            expected[str(key)] = {"id": key, "name": name, "price": float(price), "made": instant, "tags": tags}
    found: dict[str, list[dict[str, Any]]] = {}
    for record in migration.target.records(migration.label):
        found.setdefault(record["byovKey"], []).append(record)
    differing = [
        key
        for key, row in expected.items()
        if key in found and any(found[key][0].get(name) != value for name, value in row.items())
    ]
    return Account(
        missing=len(expected.keys() - found.keys()),
        extra=len(found.keys() - expected.keys()),
        doubled=sum(len(records) > 1 for records in found.values()),
        different=len(differing),
        vectors_missing=vectors_missing,
        vectors_wrong=vectors_wrong,
    )


def compare_vectors(migration: Migration, vectors: Mapping[str, NDArray[np.float32]]) -> tuple[int, int]:
    """How many vectors are missing, and how many are wrong or have no source, by their cosine with one query."""
    dimension = len(next(iter(vectors.values())))
    query = np.random.default_rng(99).standard_normal(dimension).astype(np.float32)
    scores = migration.target.scores(migration.label, "description", query.tolist(), len(vectors))
    wrong = len(scores.keys() - vectors.keys())
    for key, vector in vectors.items():
        if key in scores and any(abs(score - _score(vector, query)) > SCORE_TOLERANCE for score in scores[key]):
            wrong += 1
    return len(vectors.keys() - scores.keys()), wrong


def _score(vector: NDArray[np.float32], query: NDArray[np.float32]) -> float:
    a, b = vector.astype(np.float64), query.astype(np.float64)
    return float((1 + a @ b / np.linalg.norm(a) / np.linalg.norm(b)) / 2)
