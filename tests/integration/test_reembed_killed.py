"""Killed while a second set of vectors is filled, while rows change and somebody searches all the time."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest

from byov_migrate.jobs.reembed import reembed, switch
from byov_migrate.jobs.verify import verify
from tests.killing import killed_at
from tests.models import make_tiny_model
from tests.sync_rig import SyncRig, rigged

KILLS = int(os.environ.get("BYOV_TEST_REEMBED_KILLS", "3"))
ROWS = int(os.environ.get("BYOV_TEST_REEMBED_ROWS", "600"))
DIMENSIONS = {"old": 20, "new": 28}
HITS = 5
IS_SENDING = "SELECT 1 FROM intent"
RUN = """
import json, sys
from pathlib import Path
from byov_migrate.jobs.reembed import reembed
from tests.sync_rig import SyncRig
given = json.loads(sys.argv[1])
rig = SyncRig(Path(given.pop("folder")), **given)
reembed(rig.config(), model="new", surroundings=rig.around())
"""
CHANGES = (
    "UPDATE job SET body = 'another text ' || {n} WHERE id = {id}",
    "UPDATE job SET pay = {n} WHERE id = {id}",
    "UPDATE job SET body = NULL WHERE id = {id}",
    "INSERT INTO job (id, title, body) VALUES ({rows} + {n}, 'new', 'a new text ' || {n})",
    "DELETE FROM job WHERE id = {id}",
)


@pytest.fixture
def rig(tmp_path: Path, database: str) -> Iterator[SyncRig]:
    """Rows with texts, migrated with the model `old`."""
    with rigged(tmp_path, database) as made:
        made.make_table(ROWS)
        made.execute("ALTER TABLE job ADD body text; UPDATE job SET body = 'a text of its own, number ' || id")
        for seed, (name, dimension) in enumerate(DIMENSIONS.items()):
            directory = make_tiny_model(tmp_path / name, dimension=dimension, seed=seed)
            made.models[name] = {"path": str(directory), "dtype": "float32"}
        embedding = {"property": "description", "text": "{body}", "model": "old"}
        made.table = {"columns": ["id", "title", "pay"], "embeddings": [embedding]}
        made.make_keys_unique()
        made.backfill()
        yield made


@dataclass
class Searcher:
    """Asks for the live vectors every 100 ms, as an application would."""

    rig: SyncRig
    asked: int = 0
    empty: int = 0
    failed: list[str] = field(default_factory=list)

    def search(self, random_: np.random.Generator) -> None:
        """The index first, every record when it gives too few."""
        body = {
            "labels": [self.rig.label],
            "propertyName": "description",
            "sourceType": "external",
            "queryVector": random_.standard_normal(DIMENSIONS["old"]).astype(np.float32).tolist(),
            "limit": HITS,
        }
        self.asked += 1
        try:
            hits = self.rig.post("/ai/search", body)["data"]
            if len(hits) < HITS:
                hits = self.rig.post("/ai/search", {**body, "where": {"byovKey": {"$exists": True}}})["data"]
        except httpx.HTTPError as error:
            self.failed.append(type(error).__name__)
            return
        self.empty += len(hits) < HITS


@contextmanager
def always(action: Callable[[], None], every_s: float) -> Iterator[None]:
    """Do it again and again in a thread of its own; what it raises is raised at the end."""
    stop, failed = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            while not stop.wait(every_s):
                action()
        except BaseException as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert failed == []


def changing(rig: SyncRig) -> Callable[[], None]:
    """Something else happens to a row of the lower half each time."""
    random_, count = random.Random(3), iter(range(1, 10**9))  # noqa: S311 - no secret

    def change() -> None:
        statement = random_.choices(CHANGES, weights=(8, 8, 1, 2, 1))[0]
        with psycopg.connect(rig.dsn, autocommit=True) as connection:
            connection.execute(statement.format(id=random_.randint(1, ROWS // 2), n=next(count), rows=ROWS))

    return change


def started(rig: SyncRig) -> subprocess.Popen[bytes]:
    """A re-embedding in a process of its own."""
    given = {name: getattr(rig, name) for name in ("dsn", "url", "key", "label", "table", "models")}
    command = [sys.executable, "-c", RUN, json.dumps({"folder": str(rig.folder), **given})]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE)


def untouched(rig: SyncRig) -> dict[str, dict[str, Any]]:
    """The records of rows that never change."""
    return {record["byovKey"]: record for record in rig.records() if ROWS // 2 < int(record["byovKey"]) <= ROWS}


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_while_it_is_filled_nobody_who_searches_notices(
    rig: SyncRig, record_property: Callable[[str, object], None]
) -> None:
    """No search fails or finds nothing, no record that did not change is written, and both kinds are proved."""
    before = untouched(rig)
    searcher, random_ = Searcher(rig), np.random.default_rng(4)
    moments = random.Random(7)  # noqa: S311 - no secret
    kills = 0
    with always(lambda: searcher.search(random_), 0.1), always(changing(rig), 0.05):
        for _ in range(KILLS * 3):
            kills += killed_at(started(rig), rig.config().state_path, IS_SENDING, moments.uniform(0, 1.5))
            if kills >= KILLS:
                break
        reembed(rig.config(), model="new", surroundings=rig.around())
    record_property("kills", kills)
    record_property("searches", searcher.asked)
    assert kills
    assert (searcher.failed, searcher.empty) == ([], 0)
    assert searcher.asked > KILLS
    rig.sync(full=True)
    assert untouched(rig) == before
    result = verify(rig.config(), surroundings=rig.around())
    assert sum(result.counts.values()) == 0
    vectors = {proof.property_name: proof.embedded_again for proof in result.tables[0].proofs}
    assert vectors.keys() == {"description", "descriptionAlt"}
    assert all(vectors.values())
    switch(rig.config(), surroundings=rig.around())
    switch(rig.config(), back=True, surroundings=rig.around())
    rig.sync(full=True)
    assert untouched(rig) == before
    assert sum(verify(rig.config(), surroundings=rig.around()).counts.values()) == 0
