"""Proofs of a table whose text a model embeds: scores are those kept at embedding, a sample is embedded again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest

from byov_migrate import sandbox
from byov_migrate.errors import Refused
from byov_migrate.jobs.embedding import Embedder
from tests.models import make_tiny_model
from tests.sync_rig import KEY, SyncRig
from tests.verify_rig import Vandal, found, mended, proved

ROWS = 30
DIMENSION = 32
FILL = """
INSERT INTO job SELECT n, 'posting ' || n, 'a text of its own, number ' || n FROM generate_series(1, %s::int) AS n
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def moved(database: str, tmp_path: Path) -> Iterator[SyncRig]:
    """30 rows with texts, embedded by a tiny model; one without."""
    model = make_tiny_model(tmp_path / "model", dimension=DIMENSION)
    with sandbox.running(tmp_path / "sandbox", KEY) as target:
        rig = SyncRig(tmp_path, database, target.url)
        rig.models = {"tiny": {"path": str(model), "dtype": "float32"}}
        rig.table = {
            "columns": ["id", "title"],
            "embeddings": [
                {"property": "description", "text": "{body}", "model": "tiny"},
                {"property": "summary", "text": "{title}", "model": "tiny", "send_text": True, "spare": False},
            ],
        }
        rig.execute("CREATE TABLE job (id int PRIMARY KEY, title text, body text)")
        rig.execute(FILL, (ROWS,))
        rig.execute("UPDATE job SET body = NULL WHERE id = 7")
        rig.backfill()
        yield rig


@pytest.fixture
def vandal(moved: SyncRig) -> Vandal:
    """Who changes the target behind its back."""
    return Vandal(moved, Random(5))  # noqa: S311 - to choose what is damaged


def attach(vandal: Vandal, key: str, property_name: str, vector: list[float]) -> None:
    """Put a vector in place of a record's."""
    rows = vandal.request("GET", "/ai/indexes")["data"]
    [index] = [row["id"] for row in rows if row["propertyName"] == property_name]
    items = [{"recordId": vandal.record(key)[0], "vector": vector}]
    vandal.request("POST", f"/ai/indexes/{index}/vectors/upsert", {"items": items})


def test_all_vectors_are_proved_and_a_sample_is_embedded_again(moved: SyncRig) -> None:
    """By the scores kept, and by the model."""
    result = proved(moved)
    [table] = result.tables
    assert (found(result), table.vectors) == ({}, 2 * ROWS - 1)
    assert [proof.property_name for proof in table.proofs] == ["description", "summary"]
    for proof in table.proofs:
        assert (proof.embedded_again or 0) >= 23
        assert (proof.lowest_cosine or 0) > 0.9999


def test_a_vector_of_either_embedding_that_was_replaced_is_found_and_mended(moved: SyncRig, vandal: Vandal) -> None:
    """The state knows what was sent; a repair embeds again."""
    random = np.random.default_rng(3)
    attach(vandal, "3", "description", random.standard_normal(DIMENSION).tolist())
    attach(vandal, "4", "summary", random.standard_normal(DIMENSION).tolist())
    told = found(proved(moved))
    assert set(told) == {"vectors"}
    assert told["vectors"].keys() == {"3", "4"}
    assert told["vectors"]["3"].startswith("description: another vector")
    assert told["vectors"]["4"].startswith("summary: another vector")
    mended(moved)
    assert found(proved(moved)) == {}


def test_a_text_that_is_sent_is_compared_with_its_source(moved: SyncRig, vandal: Vandal) -> None:
    """It is a value, and stands under the name of the embedding."""
    record_id, _ = vandal.record("3")
    body = {"label": moved.label, "data": [{"byovKey": "3", "summary": "something else"}]}
    options = {"suggestTypes": True, "mergeBy": ["byovKey"], "mergeStrategy": "append"}
    vandal.request("POST", "/records/import/json", {**body, "options": options})
    assert vandal.record("3")[0] == record_id
    assert found(proved(moved)) == {"values": {"3": "summary"}}
    mended(moved)
    assert found(proved(moved)) == {}


def test_a_vector_whose_scores_nobody_kept_is_not_taken_for_proved(moved: SyncRig) -> None:
    """What could not be compared is a difference."""
    with moved.opened_state().store.writing() as connection:
        connection.exec_driver_sql("DELETE FROM vector WHERE key = '3' AND property = 'description'")
    assert found(proved(moved))["vectors"] == {"3": "description: nothing is known of what was sent"}


def test_vectors_that_another_model_made_are_found_by_the_sample(
    moved: SyncRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scores kept are those of the wrong vectors too: only embedding again tells."""
    original = Embedder._scores

    def turned(self: Embedder, plan: object, column: object) -> object:
        vectors = column.vectors  # type: ignore[attr-defined]
        for number in vectors:
            vectors[number] = np.ascontiguousarray(np.roll(vectors[number], 1))
        return original(self, plan, column)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Embedder, "_scores", turned)
        moved.execute("UPDATE job SET body = 'rewritten ' || body WHERE id <> 7")
        moved.sync()
    result = proved(moved)
    assert {kind for kind, keys in found(result).items() if keys} == {"vectors"}
    assert result.counts["vectors"] >= 20
    assert "the model gives another vector now" in next(iter(found(result)["vectors"].values()))


def test_another_model_than_the_states_is_refused(moved: SyncRig, tmp_path: Path) -> None:
    """Nothing is compared with vectors that nobody sent."""
    other = make_tiny_model(tmp_path / "other", dimension=DIMENSION, seed=9)
    moved.models["tiny"]["path"] = str(other)
    with pytest.raises(Refused):
        proved(moved)


def test_a_changed_text_is_behind_until_it_is_synced(moved: SyncRig) -> None:
    """Its vector is of the old text."""
    moved.execute("UPDATE job SET body = 'another text' WHERE id = 3")
    result = proved(moved)
    assert (found(result), result.tables[0].behind["vectors"]) == ({}, 1)
    moved.sync()
    assert not any(proved(moved).tables[0].behind.values())
