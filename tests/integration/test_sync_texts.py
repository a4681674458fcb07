"""Syncs of a table whose text a model embeds: what is embedded again, and what is not."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from byov_migrate.config import ModelConfig
from byov_migrate.embed import identify, load_encoder
from byov_migrate.errors import ConsentNeeded, Refused
from byov_migrate.jobs import rewriting
from tests.models import make_tiny_model
from tests.sync_rig import SyncRig, rigged

ROWS = int(os.environ.get("BYOV_TEST_TEXT_ROWS", "50"))
DIMENSION = 32
TABLE = "CREATE TABLE job (id int PRIMARY KEY, title text, pay float8, hits int NOT NULL DEFAULT 0, body text)"
FILL = """
INSERT INTO job SELECT n, 'posting ' || n, n * 1.5, 0, 'a text of its own, number ' || n
  FROM generate_series(1, %s::int) AS n
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def rig(database: str, tmp_path: Path) -> Iterator[SyncRig]:
    """50 rows with texts, a tiny model, nothing moved yet."""
    model = make_tiny_model(tmp_path / "model", dimension=DIMENSION)
    with rigged(tmp_path, database) as made:
        made.models = {"tiny": {"path": str(model), "dtype": "float32"}}
        made.table = {
            "columns": ["id", "title", "pay"],
            "embeddings": [{"property": "description", "text": "{body}", "model": "tiny"}],
        }
        made.execute(TABLE)
        made.execute(FILL, (ROWS,))
        yield made


def stored_scores(rig: SyncRig) -> dict[str, float]:
    """`byovKey` -> score of the stored vector against a fixed direction."""
    query = np.random.default_rng(3).standard_normal(DIMENSION).astype(np.float32)
    body = {"labels": [rig.label], "propertyName": "description", "queryVector": query.tolist(), "skip": 0}
    where = {"byovKey": {"$exists": True}}
    answer = rig.post("/ai/search", {**body, "sourceType": "external", "where": where, "limit": ROWS + 1000})
    return {record["byovKey"]: record["__score"] for record in answer["data"]}


def test_with_the_constraint_a_changed_column_embeds_nothing_and_keeps_the_vectors(rig: SyncRig) -> None:
    """The record is appended to; its vector is not touched."""
    rig.make_keys_unique()
    rig.backfill()
    before, ids = stored_scores(rig), rig.ids()
    rig.execute("UPDATE job SET pay = pay + 1")
    done = rig.sync()
    assert (done.updated, done.texts, done.texts_again) == (ROWS, 0, 0)
    assert (stored_scores(rig), rig.ids()) == (before, ids)
    assert sorted(record["pay"] for record in rig.records()) == [n * 1.5 + 1 for n in range(1, ROWS + 1)]


def test_with_the_cache_a_changed_column_embeds_nothing_and_keeps_the_vectors(rig: SyncRig) -> None:
    """The record is rewritten, and its vector comes from this machine."""
    rig.state = {"vectors": True}
    rig.backfill()
    before, ids = stored_scores(rig), rig.ids()
    rig.execute("UPDATE job SET pay = pay + 1")
    done = rig.sync()
    assert (done.updated, done.texts, done.texts_again) == (ROWS, 0, 0)
    assert (stored_scores(rig), rig.ids()) == (before, ids)


def test_with_neither_the_text_is_embedded_again_and_counted(rig: SyncRig) -> None:
    """Rewriting a record erases its vector, and nothing here holds it."""
    rig.backfill()
    before, ids = stored_scores(rig), rig.ids()
    rig.execute("UPDATE job SET pay = pay + 1 WHERE id <= 10")
    done = rig.sync()
    assert (done.updated, done.texts, done.texts_again) == (10, 10, 10)
    assert rig.ids() == ids
    assert stored_scores(rig) == pytest.approx(before, abs=2e-7)


def test_with_neither_and_too_many_rows_nothing_is_written_and_the_statement_is_printed(
    rig: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the operator has run it: then the same sync embeds nothing."""
    monkeypatch.setattr(rewriting, "MOST_TEXTS_AGAIN", 20)
    rig.backfill()
    batches = [record["byovBatch"] for record in rig.records()]
    rig.execute("UPDATE job SET pay = pay + 1")
    with pytest.raises(ConsentNeeded, match="nothing written") as asked:
        rig.sync()
    assert "CREATE CONSTRAINT" in str(asked.value.next_step)
    assert f"(n:{rig.label}) REQUIRE n.byovKey IS UNIQUE" in str(asked.value.next_step)
    assert [record["byovBatch"] for record in rig.records()] == batches
    rig.make_keys_unique()
    done = rig.sync()
    assert (done.updated, done.texts) == (ROWS, 0)


@pytest.mark.parametrize("way", ["unique", "cache", "neither"])
def test_a_changed_text_is_embedded_and_its_old_vector_is_gone(rig: SyncRig, way: str) -> None:
    """Only that one; and a cached vector of another text is no vector of this one."""
    rig.state = {"vectors": way == "cache"}
    if way == "unique":
        rig.make_keys_unique()
    rig.backfill()
    before = stored_scores(rig)
    rig.execute("UPDATE job SET body = 'something else altogether' WHERE id = 7")
    done = rig.sync()
    assert (done.updated, done.texts, done.texts_again) == (1, 1, 0)
    after = stored_scores(rig)
    assert abs(after["7"] - before["7"]) > 1e-4
    assert {key: score for key, score in after.items() if key != "7"} == {
        key: score for key, score in before.items() if key != "7"
    }
    rig.execute("UPDATE job SET body = 'a text of its own, number 7' WHERE id = 7")
    rig.sync()
    assert stored_scores(rig)["7"] == pytest.approx(before["7"], abs=2e-7)


def test_a_value_that_has_to_disappear_costs_a_vector_only_without_the_cache(rig: SyncRig) -> None:
    """Clearing rewrites the record, constraint or not."""
    rig.make_keys_unique()
    rig.backfill()
    before = stored_scores(rig)
    rig.execute("UPDATE job SET pay = NULL WHERE id <= 3")
    done = rig.sync()
    assert (done.updated, done.texts, done.texts_again) == (3, 3, 3)
    assert sum("pay" in record for record in rig.records()) == ROWS - 3
    assert stored_scores(rig) == pytest.approx(before, abs=2e-7)


def test_text_that_disappears_takes_its_vector_along(rig: SyncRig) -> None:
    """And comes back with a new one."""
    rig.backfill()
    rig.execute("UPDATE job SET body = '  ' WHERE id = 7")
    assert (rig.sync().texts, "7" in stored_scores(rig)) == (0, False)
    rig.execute("UPDATE job SET body = 'back again' WHERE id = 7")
    assert (rig.sync().texts, "7" in stored_scores(rig)) == (1, True)


def test_nothing_to_embed_means_that_no_model_is_loaded(rig: SyncRig) -> None:
    """A sync every five minutes does not pay for a model that it does not need."""
    rig.backfill()
    rig.events.clear()
    rig.execute("UPDATE job SET hits = 1")
    assert rig.sync().unchanged == ROWS
    assert "model" not in {action for action, _ in rig.events}


def test_a_model_that_changed_stops_a_sync(rig: SyncRig) -> None:
    """Found by its files alone, before anything is embedded."""
    rig.backfill()
    make_tiny_model(Path(str(rig.models["tiny"]["path"])), dimension=DIMENSION, seed=1)
    rig.execute("UPDATE job SET body = 'other' WHERE id = 7")
    with pytest.raises(Refused, match="fingerprint"):
        rig.sync()


def test_the_cache_holds_vectors_only_when_it_is_asked_for(rig: SyncRig) -> None:
    """They are as sensitive as the index; deleted records take theirs along."""
    rig.backfill()
    assert count_cached(rig) == 0
    rig.state = {"vectors": True}
    rig.execute("UPDATE job SET body = body || ' changed' WHERE id <= 5")
    rig.sync()
    assert count_cached(rig) == 5
    rig.execute("DELETE FROM job WHERE id <= 2")
    rig.sync(full=True)
    assert count_cached(rig) == 3


def count_cached(rig: SyncRig) -> int:
    """Vectors that the state keeps."""
    with sqlite3.connect(rig.config().state_path) as connection:
        return int(connection.execute("SELECT count(*) FROM vector_cache").fetchone()[0])


def test_identity_and_encoder_agree(rig: SyncRig) -> None:
    """The fingerprint that a sync compares is the one that a backfill stored."""
    config = ModelConfig.model_validate(rig.models["tiny"], context={"base": Path()})
    encoder = load_encoder(config)
    assert (identify(config).dimension, identify(config).fingerprint) == (encoder.dimension, encoder.fingerprint)
