"""Pages of rows -> pages of documents with vectors: the embedding stage of the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from byov_migrate.config import EmbeddingConfig
from byov_migrate.digests import probe_scores
from byov_migrate.jobs.documents import Composer
from byov_migrate.jobs.stages import Stopwatch
from byov_migrate.records import Content, Embedded, Page, Position, Rejected, Row, Scores, Vector

if TYPE_CHECKING:
    from byov_migrate.embed import Encoder


@dataclass(frozen=True)
class EmbeddingPlan:
    """One `[[tables.embeddings]]`, ready to run. `encoder` loads the model when it is called; None: ready vectors."""

    config: EmbeddingConfig
    dimension: int
    probes: Vector  # shape (3, dimension)
    encoder: Callable[[], Encoder] | None
    fingerprint: str | None


@dataclass(frozen=True, slots=True)
class EmbeddedPage:
    """A page after embedding, with what the summary counts."""

    rows: tuple[Embedded | Rejected, ...]
    position: Position | None
    texts: int = 0
    tokens: int = 0
    truncated: int = 0
    no_text: int = 0


@dataclass
class _Column:
    """One embedding's outcome for all rows of a page, by row number."""

    vectors: dict[int, Vector]
    refused: dict[int, tuple[str, str]]
    texts: int = 0
    tokens: int = 0
    truncated: int = 0


class Embedder:
    """Embeds the pages of one table."""

    def __init__(self, composer: Composer, plans: Sequence[EmbeddingPlan], stopwatch: Stopwatch) -> None:
        self._composer = composer
        self._plans = plans
        self._stopwatch = stopwatch

    def pages(self, pages: Iterable[Page]) -> Iterator[EmbeddedPage]:
        """Each page in turn, rows in order."""
        for page in pages:
            with self._stopwatch.busy("embed"):
                embedded = self.page(page)
            yield embedded

    def page(self, page: Page) -> EmbeddedPage:
        """One page: a row that an embedding refuses becomes a reject, the others go on."""
        rows = [row for row in page.rows if isinstance(row, Row)]
        columns = [self._column(plan, [_to_embed(row, n) for row in rows]) for n, plan in enumerate(self._plans)]
        scores = [self._scores(plan, column) for plan, column in zip(self._plans, columns, strict=True)]
        outcomes = iter([self._outcome(number, row, columns, scores) for number, row in enumerate(rows)])
        return EmbeddedPage(
            tuple(next(outcomes) if isinstance(row, Row) else row for row in page.rows),
            page.position,
            texts=sum(column.texts for column in columns),
            tokens=sum(column.tokens for column in columns),
            truncated=sum(column.truncated for column in columns),
            no_text=sum(bool(row.contents) and all(content is None for content in row.contents) for row in rows),
        )

    def _column(self, plan: EmbeddingPlan, contents: Sequence[Content]) -> _Column:
        ready = {n: content for n, content in enumerate(contents) if isinstance(content, np.ndarray)}
        texts = {n: content for n, content in enumerate(contents) if isinstance(content, str)}
        column = _Column(ready, {})
        if texts and plan.encoder is not None:
            _encode(plan.encoder(), texts, column)
        return column

    def _scores(self, plan: EmbeddingPlan, column: _Column) -> dict[int, Scores]:
        if not column.vectors:
            return {}
        matrix = np.stack(list(column.vectors.values()))
        return dict(zip(column.vectors, probe_scores(matrix, plan.probes), strict=True))

    def _outcome(
        self, number: int, row: Row, columns: Sequence[_Column], scores: Sequence[dict[int, Scores]]
    ) -> Embedded | Rejected:
        for plan, column in zip(self._plans, columns, strict=True):
            if number in column.refused:
                return _rejected(row, plan, *column.refused[number])
        document = self._composer.document(row)
        vectors = tuple(column.vectors.get(number) for column in columns)
        return Embedded(document, vectors, tuple(score.get(number) for score in scores))


def _to_embed(row: Row, number: int) -> Content:
    """The content of one embedding, or the vector of it that is there; None where the record keeps its vector."""
    if row.way == "append":
        return None
    cached = row.cached[number] if row.cached else None
    return row.contents[number] if cached is None else cached


def _encode(encoder: Encoder, texts: dict[int, str], column: _Column) -> None:
    encoded = encoder.encode_documents(list(texts.values()))
    for n, (number, vector) in enumerate(zip(texts, encoded.vectors, strict=True)):
        if n in encoded.refused:
            column.refused[number] = encoded.refused[n]
        else:
            column.vectors[number] = vector
    column.texts, column.tokens, column.truncated = len(texts), encoded.tokens, sum(encoded.truncated)


def _rejected(row: Row, plan: EmbeddingPlan, code: str, reason: str) -> Rejected:
    setting = 'long_text = "truncate"' if code == "too-long" else None
    return Rejected(row.key, row.position, "embed", code, reason, plan.config.property_name, setting)
