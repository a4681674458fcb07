"""Pages of rows become pages of documents with vectors: every row keeps its own, a refused one costs only itself."""

from __future__ import annotations

import itertools
import threading
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
from byov_migrate.jobs.remembered import Remembered
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

    batch_tokens: int = 1
    window: int = 64

    def prepare(self, texts: Sequence[str]) -> Sequence[str]:
        """The texts themselves."""
        return texts

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


LONG = 64
"""A letter so often is a window of its own for the scripted encoder."""


def texts_of(*texts: str) -> list[list[str]]:
    """What the encoder sees when each text is a window."""
    return [[text] for text in texts]


def vector_in(item: Embedded | Rejected) -> Any:
    """The vector of the text."""
    assert isinstance(item, Embedded)
    return item.vectors[0]


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


def test_windows_come_one_by_one() -> None:
    """The second is not embedded before the first was taken: memory stays bounded."""
    encoder = ScriptedEncoder()
    texts = [letter * LONG for letter in "abc"]
    pages = embedder(encoder).pages(Page((row(text, text),), POSITION) for text in texts)
    assert encoder.seen == []
    next(pages)
    assert encoder.seen == texts_of(texts[0])


def test_short_pages_are_embedded_together_and_come_apart_again() -> None:
    """A window of two batches would be padded to its longest text; each page keeps its rows and its position."""
    encoder = ScriptedEncoder()
    given = [Page((row(key, key), BAD), Position(number, (key,), done=False)) for number, key in enumerate("abc")]
    pages = list(embedder(encoder).pages(given))
    assert encoder.seen == [["a", "b", "c"]]
    assert [page.position for page in pages] == [page.position for page in given]
    assert [page.rows[1] for page in pages] == [BAD] * 3
    for page, key in zip(pages, "abc", strict=True):
        assert np.array_equal(vector_in(page.rows[0]), vector_of(key))
    assert (sum(page.texts for page in pages), sum(page.tokens for page in pages)) == (3, 30)


def test_a_page_without_texts_waits_for_no_other() -> None:
    """Ready vectors need no window."""
    given = iter([Page((row("1", None, READY),), POSITION)])
    pages = embedder(ScriptedEncoder()).pages(itertools.chain(given, (pytest.fail("asked for too early") for _ in "1")))
    assert len(next(pages).rows) == 1


def test_a_text_that_comes_again_is_embedded_once_in_a_run() -> None:
    """Postings repeat themselves over the whole table; each row counts, and each has the same vector."""
    encoder = ScriptedEncoder()
    texts = [f"{word} cut " * LONG for word in ("one", "two", "one", "three", "two", "four", "five", "six", "one")]
    pages = list(embedder(encoder).pages(Page((row(str(n), text),), POSITION) for n, text in enumerate(texts)))
    assert encoder.seen == texts_of(*dict.fromkeys(texts))
    for page, text in zip(pages, texts, strict=True):
        assert np.array_equal(vector_in(page.rows[0]), vector_of(text))
    counts = [sum(getattr(page, name) for page in pages) for name in ("texts", "tokens", "truncated")]
    assert counts == [9, 60, 9]


def test_a_text_that_was_refused_is_refused_again() -> None:
    """It has no vector that could be remembered."""
    text = "a nan " * LONG
    pages = list(embedder(ScriptedEncoder()).pages(Page((row(key, text),), POSITION) for key in "12"))
    assert [item.code for page in pages for item in page.rows if isinstance(item, Rejected)] == ["not-finite"] * 2


def test_what_is_remembered_stays_bounded() -> None:
    """The least lately used vector is forgotten first, and embedded again when it is needed."""
    remembered = Remembered(most_bytes=2 * READY.nbytes)
    for text in ("a", "b"):
        remembered.put(text, READY, truncated=False)
    assert remembered.get("a") is not None
    remembered.put("c", READY, truncated=False)
    assert [text in remembered for text in "abc"] == [True, False, True]


def test_a_vector_that_was_forgotten_meanwhile_is_made_again() -> None:
    """Between tokenising a window and embedding it, the ones before may drive a vector out."""
    encoder = ScriptedEncoder()
    under_test = embedder(encoder)
    under_test._remembered = [Remembered(most_bytes=0) for _ in range(2)]
    texts = ["one " * LONG, "one " * LONG]
    pages = list(under_test.pages(Page((row(str(n), text),), POSITION) for n, text in enumerate(texts)))
    assert encoder.seen == texts_of(*texts)
    assert all(np.array_equal(vector_in(page.rows[0]), vector_of(texts[0])) for page in pages)


def test_the_next_window_is_tokenised_while_the_model_is_at_work() -> None:
    """The tokenizer is off the critical path: the model below waits for it, and would wait for ever."""
    second_is_read = threading.Event()

    class Waiting(ScriptedEncoder):
        def prepare(self, texts: Sequence[str]) -> Sequence[str]:
            if texts[0][0] == "b":
                second_is_read.set()
            return texts

        def encode_documents(self, texts: Sequence[str]) -> Any:
            assert second_is_read.wait(10)
            return super().encode_documents(texts)

    pages = embedder(Waiting()).pages(Page((row(key, key * LONG),), POSITION) for key in "ab")
    assert len(list(pages)) == 2
