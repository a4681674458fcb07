"""Pages of rows become pages of documents with vectors: every row keeps its own, a refused one costs only itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from byov_migrate.config import TableConfig
from byov_migrate.digests import Digests, probe_scores
from byov_migrate.jobs.documents import Composer
from byov_migrate.jobs.embedding import EmbeddedPage, Embedder, EmbeddingPlan
from byov_migrate.jobs.stages import Stopwatch
from byov_migrate.records import Content, Embedded, Page, Position, Rejected, Row, Vector
from tests.faults.virtual_time import VirtualTime

DIGESTS = Digests(b"k" * 32)
DIMENSION = 4
POSITION = Position(3, ("9",), done=True)


def vector_of(text: str) -> Vector:
    """What the double answers for a text."""
    return np.random.default_rng(list(text.encode())).normal(size=DIMENSION).astype(np.float32)


@dataclass
class ScriptedEncoder:
    """Stands for a model: vectors made from the text, refusals by word."""

    dimension: int = DIMENSION
    fingerprint: str = "f" * 64
    seen: list[list[str]] = field(default_factory=list)

    def encode_documents(self, texts: Sequence[str]) -> Any:
        """As `embed.Encoder` answers."""
        self.seen.append(list(texts))
        refused = {n: ("too-long", "is too long") for n, text in enumerate(texts) if "long" in text}
        refused |= {n: ("not-finite", "is NaN") for n, text in enumerate(texts) if "nan" in text}
        vectors = [np.zeros(DIMENSION) if n in refused else vector_of(text) for n, text in enumerate(texts)]
        return SimpleNamespace(
            vectors=np.asarray(vectors, dtype=np.float32),
            refused=refused,
            truncated=tuple("cut" in text for text in texts),
            tokens=10 * len(texts),
        )


def embedder(encoder: ScriptedEncoder) -> Embedder:
    """Two embeddings: one of text by the encoder, one of ready vectors."""
    table = TableConfig.model_validate(
        {
            "name": "t",
            "label": "Job",
            "columns": ["id"],
            "embeddings": [{"property": "p", "text": "{body}", "model": "m"}, {"property": "q", "vector": "v"}],
        }
    )
    probes = DIGESTS.probes(DIMENSION)
    plans = [
        EmbeddingPlan(table.embeddings[0], DIMENSION, probes, lambda: cast(Any, encoder), encoder.fingerprint),
        EmbeddingPlan(table.embeddings[1], DIMENSION, probes, None, None),
    ]
    composer = Composer(table, DIGESTS, "state", (encoder.fingerprint, None))
    return Embedder(composer, plans, Stopwatch(VirtualTime().monotonic))


def row(key: str, text: str | None = None, vector: Vector | None = None) -> Row:
    """A row with these contents."""
    contents: tuple[Content, ...] = (text, vector)
    return Row(key, (key,), {"id": key}, contents)


def page_of(*rows: Row | Rejected, encoder: ScriptedEncoder | None = None) -> EmbeddedPage:
    """The page after embedding."""
    return embedder(encoder or ScriptedEncoder()).page(Page(rows, POSITION))


READY = np.asarray([1, 2, 3, 4], dtype=np.float32)
BAD = Rejected("bad", ("bad",), "read", "not-finite", "is NaN")


def test_every_row_gets_its_own_vectors_hashes_and_scores() -> None:
    """In order, with gaps in both columns and rejects of the reader in between."""
    page = page_of(row("1", "one", READY), BAD, row("2", None, READY), row("3", "three"), row("4"))
    assert page.position == POSITION
    assert page.rows[1] is BAD
    first, _, second, third, fourth = page.rows
    probes = DIGESTS.probes(DIMENSION)
    expected: list[tuple[Any, str | None, Vector | None]] = [
        (first, "one", READY),
        (second, None, READY),
        (third, "three", None),
        (fourth, None, None),
    ]
    for item, text, ready in expected:
        assert isinstance(item, Embedded)
        vectors = (None if text is None else vector_of(text), ready)
        for vector, score, wanted in zip(item.vectors, item.scores, vectors, strict=True):
            assert (vector is None) is (score is None) is (wanted is None)
            if wanted is not None:
                assert np.array_equal(cast(Any, vector), wanted)
                assert score == pytest.approx(probe_scores(wanted[None, :], probes)[0], abs=1e-12)
        hashes = (
            None if text is None else DIGESTS.text_hash(text, "f" * 64),
            None if ready is None else DIGESTS.vector_hash(ready),
        )
        assert item.document.text_hashes == hashes


@pytest.mark.parametrize(
    ("text", "code", "setting"),
    [("too long", "too-long", 'long_text = "truncate"'), ("a nan", "not-finite", None)],
)
def test_a_text_that_is_refused_costs_its_row_alone(text: str, code: str, setting: str | None) -> None:
    """Also when its other embedding is fine: half a record would be searched and not found."""
    page = page_of(row("1", "one", READY), row("2", text, READY), row("3", "three"))
    first, refused, third = page.rows
    assert isinstance(first, Embedded)
    assert isinstance(third, Embedded)
    assert np.array_equal(cast(Any, third.vectors[0]), vector_of("three"))
    assert refused == Rejected(
        "2", ("2",), "embed", code, {"too-long": "is too long"}.get(code, "is NaN"), "p", setting
    )


def test_what_the_summary_counts() -> None:
    """Texts, tokens and truncated ones as the model saw them; rows without any content."""
    page = page_of(row("1", "one"), row("2", "is cut"), row("3", None, READY), row("4"), BAD)
    assert (page.texts, page.tokens, page.truncated, page.no_text) == (2, 20, 1, 1)


def test_the_model_is_not_asked_for_nothing() -> None:
    """A page of ready vectors, of rejects, or an empty one."""
    encoder = ScriptedEncoder()
    for rows in ((row("1", None, READY),), (BAD,), ()):
        assert len(page_of(*rows, encoder=encoder).rows) == len(rows)
    assert encoder.seen == []


def test_a_page_is_embedded_in_one_call() -> None:
    """Sorting by length needs all of its texts at once."""
    encoder = ScriptedEncoder()
    page_of(row("1", "one"), BAD, row("2", "two"), encoder=encoder)
    assert encoder.seen == [["one", "two"]]


def test_pages_come_one_by_one() -> None:
    """The second is not embedded before the first was taken: memory stays bounded."""
    encoder = ScriptedEncoder()
    pages = embedder(encoder).pages(Page((row(key, key),), POSITION) for key in "abc")
    assert encoder.seen == []
    next(pages)
    assert encoder.seen == [["a"]]
