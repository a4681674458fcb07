"""Pages of rows -> pages of documents with vectors: the embedding stage of the pipeline."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from byov_migrate.config import EmbeddingConfig
from byov_migrate.digests import probe_scores
from byov_migrate.jobs.documents import Composer
from byov_migrate.jobs.prefetch import prefetch
from byov_migrate.jobs.remembered import Remembered
from byov_migrate.jobs.stages import Stopwatch
from byov_migrate.records import Content, Embedded, Page, Position, Rejected, Row, Scores, Vector

if TYPE_CHECKING:
    from byov_migrate.embed import Encoder, Prepared

WINDOW_BATCHES = 16
"""Batches that are cut from one window at least: fewer leave neighbours of unlike length, more keep a stop waiting."""
WINDOW_PAGES = 16
PREPARED = 1
WINDOWS_UNDER_WAY = PREPARED + 3
"""One is tokenised, some wait, one is handed over, one is embedded."""
CHARACTERS_A_TOKEN = 4


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
    refused: int = 0  # texts that the model of vectors which searches do not use has refused


@dataclass
class _Column:
    """One embedding's part of a window, by row number. `prepared`: of `texts`, those that are not known already."""

    vectors: dict[int, Vector]
    known: dict[int, str] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    prepared: Prepared | None = None
    refused: dict[int, tuple[str, str]] = field(default_factory=dict)
    tokens: int = 0
    truncated: int = 0


@dataclass(frozen=True)
class _Window:
    """Pages that are embedded together, their rows in one line."""

    pages: tuple[Page, ...]
    rows: tuple[Row, ...]
    columns: tuple[_Column, ...]


class Embedder:
    """Embeds the pages of one table: texts become token ids in one thread and vectors in another."""

    def __init__(self, composer: Composer, plans: Sequence[EmbeddingPlan], stopwatch: Stopwatch) -> None:
        self._composer = composer
        self._plans = plans
        self._stopwatch = stopwatch
        self._remembered = [Remembered() for _ in plans]
        self._lately: deque[set[tuple[int, str]]] = deque(maxlen=WINDOWS_UNDER_WAY)

    def pages(self, pages: Iterable[Page]) -> Iterator[EmbeddedPage]:
        """Each page in turn, rows in order."""
        with prefetch(self._windows(pages), PREPARED, "tokenize") as windows:
            for window in windows:
                with self._stopwatch.busy("embed"):
                    embedded = self._embed(window)
                yield from embedded

    def _windows(self, pages: Iterable[Page]) -> Iterator[_Window]:
        """Pages in groups of so many batches that sorting by length leaves little to pad, tokenised."""
        gathered: list[Page] = []
        batches = 0.0
        for page in pages:
            more = self._batches(page)
            gathered.append(page)
            batches += more
            if not more or batches >= WINDOW_BATCHES or len(gathered) >= WINDOW_PAGES:
                yield self._prepare(gathered)
                gathered, batches = [], 0.0
        if gathered:
            yield self._prepare(gathered)

    def _batches(self, page: Page) -> float:
        """About how many batches the model computes for a page; 0 when it is not needed."""
        return sum(
            _estimated_batches(plan.encoder(), texts)
            for number, plan in enumerate(self._plans)
            if plan.encoder is not None and (texts := _texts(page, number))
        )

    def _prepare(self, pages: Sequence[Page]) -> _Window:
        rows = tuple(row for page in pages for row in page.rows if isinstance(row, Row))
        self._lately.append(set())
        columns = tuple(self._column(number, rows) for number in range(len(self._plans)))
        return _Window(tuple(pages), rows, columns)

    def _column(self, number: int, rows: Sequence[Row]) -> _Column:
        contents = {n: _to_embed(row, number) for n, row in enumerate(rows)}
        column = _Column({n: content for n, content in contents.items() if isinstance(content, np.ndarray)})
        encoder = self._plans[number].encoder
        if encoder is None:
            return column
        for n, content in contents.items():
            if isinstance(content, str):
                (column.known if self._is_coming(number, content) else column.texts)[n] = content
        if column.texts:
            model = encoder()
            with self._stopwatch.busy("tokenize"):
                column.prepared = model.prepare(list(column.texts.values()))
        self._lately[-1].update((number, text) for text in column.texts.values())
        return column

    def _is_coming(self, number: int, text: str) -> bool:
        """Whether the vector is remembered, or will be by the time this window is embedded."""
        under_way = any((number, text) in texts for texts in self._lately)
        return under_way or text in self._remembered[number]

    def page(self, page: Page) -> EmbeddedPage:
        """One page: a row that an embedding refuses becomes a reject, the others go on."""
        return self._embed(self._prepare([page]))[0]

    def _embed(self, window: _Window) -> list[EmbeddedPage]:
        columns = window.columns
        for number, column in enumerate(columns):
            self._encode(number, column)
        scores = [self._scores(plan, column) for plan, column in zip(self._plans, columns, strict=True)]
        outcomes = iter([self._outcome(number, row, columns, scores) for number, row in enumerate(window.rows)])
        pages = [self._finished(page, outcomes) for page in window.pages]
        pages[0] = replace(
            pages[0],  # what is counted is counted over a run
            texts=sum(len(column.texts) + len(column.known) for column in columns),
            tokens=sum(column.tokens for column in columns),
            truncated=sum(column.truncated for column in columns),
            refused=sum(
                len(column.refused)
                for plan, column in zip(self._plans, columns, strict=True)
                if not plan.config.role.live
            ),
        )
        return pages

    def _finished(self, page: Page, outcomes: Iterator[Embedded | Rejected]) -> EmbeddedPage:
        rows = [row for row in page.rows if isinstance(row, Row)]
        return EmbeddedPage(
            tuple(next(outcomes) if isinstance(row, Row) else row for row in page.rows),
            page.position,
            no_text=sum(bool(row.contents) and all(content is None for content in row.contents) for row in rows),
        )

    def _encode(self, number: int, column: _Column) -> None:
        encoder, remembered = self._plans[number].encoder, self._remembered[number]
        if encoder is None:
            return
        forgotten = {n: text for n, text in column.known.items() if not _recall(n, text, remembered, column)}
        if column.prepared is not None:
            _encode(encoder(), column.prepared, column.texts, remembered, column)
        if forgotten:
            _encode(encoder(), list(forgotten.values()), forgotten, remembered, column)

    def _scores(self, plan: EmbeddingPlan, column: _Column) -> dict[int, Scores]:
        if not column.vectors:
            return {}
        matrix = np.stack(list(column.vectors.values()))
        return dict(zip(column.vectors, probe_scores(matrix, plan.probes), strict=True))

    def _outcome(
        self, number: int, row: Row, columns: Sequence[_Column], scores: Sequence[dict[int, Scores]]
    ) -> Embedded | Rejected:
        for plan, column in zip(self._plans, columns, strict=True):
            if number in column.refused and plan.config.role.live:  # else it only lacks the other model's vector
                return _rejected(row, plan, *column.refused[number])
        document = self._composer.document(row)
        vectors = tuple(column.vectors.get(number) for column in columns)
        return Embedded(document, vectors, tuple(score.get(number) for score in scores))


def _to_embed(row: Row, number: int) -> Content:
    """The content of one embedding, or the vector of it that is there; None where the record keeps its vector."""
    if row.way in ("append", "attach") and row.known is not None and row.known.text_hashes[number] is not None:
        return None
    cached = row.cached[number] if row.cached else None
    return row.contents[number] if cached is None else cached


def _texts(page: Page, number: int) -> list[str]:
    contents = (_to_embed(row, number) for row in page.rows if isinstance(row, Row))
    return [content for content in contents if isinstance(content, str)]


def _estimated_batches(encoder: Encoder, texts: Sequence[str]) -> float:
    tokens = sum(min(len(text) / CHARACTERS_A_TOKEN, encoder.window) for text in texts)
    return tokens / encoder.batch_tokens


def _recall(n: int, text: str, remembered: Remembered, column: _Column) -> bool:
    found = remembered.get(text)
    if found is None:
        return False
    column.vectors[n], truncated = found
    column.truncated += truncated
    return True


def _encode(
    encoder: Encoder, content: Prepared | list[str], texts: Mapping[int, str], remembered: Remembered, column: _Column
) -> None:
    """Vectors of these texts by row number, into the column and the memory."""
    encoded = encoder.encode_documents(content)
    for n, (number, text) in enumerate(texts.items()):
        if n in encoded.refused:
            column.refused[number] = encoded.refused[n]
            continue
        column.vectors[number] = encoded.vectors[n]
        remembered.put(text, encoded.vectors[n], truncated=encoded.truncated[n])
    column.tokens += encoded.tokens
    column.truncated += sum(encoded.truncated)


def _rejected(row: Row, plan: EmbeddingPlan, code: str, reason: str) -> Rejected:
    setting = 'long_text = "truncate"' if code == "too-long" else None
    return Rejected(row.key, row.position, "embed", code, reason, plan.config.carrier, setting)
