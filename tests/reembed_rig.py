"""A table with two sets of vectors, by two tiny models, and what each of them should find, by numpy alone.

rig          texts that are much alike: for what becomes of vectors and records; `unfilled`: before its backfill
two_models   texts that have little in common, and prompts: for what is found, in which order
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from byov_migrate.jobs.reembed import ReembedResult, drop, reembed, switch
from byov_migrate.jobs.search import search
from byov_migrate.jobs.verify import Verification, verify
from tests.models import make_tiny_model
from tests.sync_rig import SyncRig, rigged

ROWS = 40
BODIES = """
ALTER TABLE job ADD body text;
UPDATE job SET body = CASE WHEN id > 5 THEN 'a text of its own, number ' || id END;
"""
TEXTS = ROWS - 5
COLUMNS = ("id", "title", "pay")
UNLIKE = """
ALTER TABLE job ADD body text;
UPDATE job SET body = CASE WHEN id > 5 THEN md5(id::text) END;
"""
"""Texts that have little in common, so that no two hits are equally good; five rows have none."""
DIMENSIONS = {"old": 16, "new": 24}
PROMPTS = {"document_prompt": "job: ", "query_prompt": "wanted: "}


class Killed(BaseException):
    """Ends a run where it stands, as no error does."""


def killed_in(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, job: Callable[[], object]) -> None:
    """Run a job that is killed where it calls this; another run can call it again."""

    def die(*_given: object, **_named: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, die)
        with pytest.raises(Killed):
            job()


@pytest.fixture
def unfilled(tmp_path: Path, database: str) -> Iterator[SyncRig]:
    """Forty jobs, five without a text, to be migrated with the model `old`; `new` is configured and unused."""
    with rigged(tmp_path, database) as made:
        made.make_table(ROWS)
        made.execute(BODIES)
        add_model(made, "old", dimension=4, seed=1)
        add_model(made, "new", dimension=8, seed=2)
        use(made, "old")
        yield made


@pytest.fixture
def rig(unfilled: SyncRig) -> SyncRig:
    """Migrated."""
    unfilled.backfill()
    return unfilled


def add_model(rig: SyncRig, name: str, *, dimension: int, seed: int) -> None:
    """A tiny model of this name, configured."""
    path = make_tiny_model(rig.folder / f"{name}-{seed}", dimension=dimension, seed=seed)
    rig.models[name] = {"path": str(path), "dtype": "float32"}


def use(rig: SyncRig, model: str, **changes: Any) -> None:
    """Write this into the configuration."""
    embed_with(rig, {"model": model, **changes})


def move_to(rig: SyncRig, model: str, before: str) -> None:
    """A re-embedding from its beginning to its end. before: the property of the vectors that are dropped."""
    fill(rig, model=model)
    switch(rig.config(), surroundings=rig.around())
    use(rig, model)
    drop(rig.config(), agreed=[before], surroundings=rig.around())


def differences(rig: SyncRig) -> int:
    """What verify finds."""
    return sum(verify(rig.config(), surroundings=rig.around()).counts.values())


def records(rig: SyncRig) -> dict[str, dict[str, Any]]:
    """Everything that RushDB holds of each record, by key."""
    return {record["byovKey"]: record for record in rig.records()}


def nearest(rig: SyncRig, **asked: Any) -> list[str]:
    """Keys, best first."""
    found = search(
        rig.config(), "a text of its own, number 17", limit=10, exact=True, surroundings=rig.around(), **asked
    )
    return [hit.key for hit in found.hits]


@contextmanager
def two_models(folder: Path, dsn: str) -> Iterator[SyncRig]:
    """Forty jobs migrated with `old`; `new` is configured, with prompts, and unused."""
    with rigged(folder, dsn) as made:
        made.make_table(ROWS)
        made.execute(UNLIKE)
        for seed, (name, dimension) in enumerate(DIMENSIONS.items()):
            directory = make_tiny_model(folder / name, dimension=dimension, seed=seed)
            made.models[name] = {"path": str(directory), "dtype": "float32"}
        made.models["new"] |= PROMPTS
        embed_with(made, {"model": "old"})
        made.backfill()
        yield made


def embed_with(rig: SyncRig, embedding: Mapping[str, Any]) -> None:
    """Write this into the configuration."""
    described = {"property": "description", "text": "{body}", **embedding}
    rig.table = {"columns": list(COLUMNS), "embeddings": [described]}


def fill(rig: SyncRig, **asked: Any) -> ReembedResult:
    """A re-embedding, brought to its end."""
    return reembed(rig.config(), surroundings=rig.around(), **asked)


def compare(rig: SyncRig, **asked: Any) -> Verification:
    """A verify that compares the candidate."""
    return verify(rig.config(), candidate=True, surroundings=rig.around(), **asked)


@dataclass(frozen=True)
class Space:
    """What one model makes of the table, and finds. vectors: by key, unit length."""

    name: str
    vectors: dict[str, NDArray[np.float64]]

    @staticmethod
    def of(rig: SyncRig, name: str) -> Space:
        """The rows with a text, embedded by the model's own library."""
        with psycopg.connect(rig.dsn) as connection:
            query = "SELECT id::text, body FROM job WHERE body IS NOT NULL"
            texts: dict[str, str] = dict(connection.execute(query).fetchall())
        prompt = rig.models[name].get("document_prompt", "")
        return Space(name, dict(zip(texts, embedded(rig, name, prompt, list(texts.values())), strict=True)))

    @staticmethod
    def of_column(rig: SyncRig) -> Space:
        """The rows with a ready vector."""
        with psycopg.connect(rig.dsn) as connection:
            found = connection.execute("SELECT id::text, embedding FROM job WHERE embedding IS NOT NULL").fetchall()
        return Space("column embedding", {key: np.array(vector) / np.linalg.norm(vector) for key, vector in found})

    def nearest(self, query: NDArray[np.float64], without: str | None = None) -> list[str]:
        """The ten best keys. Fails where two of them are too much alike to have an order."""
        scores = {key: (1 + float(vector @ query)) / 2 for key, vector in self.vectors.items() if key != without}
        ranked = sorted(scores, key=lambda key: -scores[key])[:11]
        gaps = [scores[one] - scores[next_one] for one, next_one in pairwise(ranked)]
        assert min(gaps) > 3e-6, "these texts do not tell an order from rounding"
        return ranked[:10]


def embedded(rig: SyncRig, name: str, prompt: str, texts: Sequence[str]) -> list[NDArray[np.float64]]:
    """Vectors of unit length, by sentence-transformers."""
    from sentence_transformers import SentenceTransformer  # seconds, and few tests need it

    model = SentenceTransformer(rig.models[name]["path"], device="cpu", local_files_only=True)
    made = np.asarray(model.encode(list(texts), prompt=prompt or None, show_progress_bar=False), dtype=np.float64)
    return list(made / np.linalg.norm(made, axis=1, keepdims=True))
