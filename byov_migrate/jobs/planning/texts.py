"""One embedding of one table: its texts counted, and its model timed on them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from byov_migrate.config import Config, EmbeddingConfig, LongText
from byov_migrate.errors import Interrupted
from byov_migrate.jobs.planning.arithmetic import Estimate, exactly, mean_of, share_of
from byov_migrate.jobs.planning.pace import measured_seconds
from byov_migrate.jobs.planning.sampling import Sample, every_row
from byov_migrate.jobs.planning.volumes import MEASURED_ROWS, vector_bytes
from byov_migrate.jobs.ranges import PAGE_ROWS_EMBEDDED
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.table_work import Models
from byov_migrate.records import Row, Vector
from byov_migrate.source import TableReader

if TYPE_CHECKING:
    from byov_migrate.embed import Encoder
    from byov_migrate.embed.measuring import Measured, TextLength


@dataclass(frozen=True, slots=True)
class EmbeddingForecast:
    """What one embedding needs.

    texts: rows that have something to embed. tokens: read by the model, prompt and special ones included; whole_tokens:
    before anything was cut. long: share of the texts that are longer than the window. seconds: of embedding all of it;
    tokens_a_second: as measured on `device`,
    with that share of the processor time that was asked for.
    vector_bytes: of one on the way. Of ready vectors there is only `texts`.
    """

    property_name: str
    dimension: int | None
    texts: Estimate
    tokens: Estimate = field(default_factory=lambda: exactly(0))
    whole_tokens: Estimate = field(default_factory=lambda: exactly(0))
    long: Estimate = field(default_factory=lambda: exactly(0))
    long_text: str = "truncate"
    seconds: Estimate = field(default_factory=lambda: exactly(0))
    model: str | None = None
    device: str | None = None
    dtype: str | None = None
    window: int | None = None
    tokens_a_second: float | None = None
    processor_share: float = 1.0
    measured_s: float = 0.0
    vector_bytes: float = 0.0


@dataclass(frozen=True, slots=True)
class _Counts:
    """Of all rows: texts, tokens read and whole, and the share of texts that are long."""

    texts: Estimate
    tokens: Estimate
    whole_tokens: Estimate
    long: Estimate


def ready_vectors(item: EmbeddingConfig, number: int, dimension: int | None, sample: Sample) -> EmbeddingForecast:
    """An embedding whose vectors are there."""
    found = [row.row.contents[number] for row in sample.rows]
    flags = [content is not None for content in found] + [False] * len(sample.rejected)
    there = share_of(flags, sample.population).times(sample.population)
    some: list[Vector] = [content for content in found if isinstance(content, np.ndarray)][:MEASURED_ROWS]
    size = vector_bytes(dimension or 0, np.stack(some) if some else None)
    return EmbeddingForecast(item.carrier, dimension, there, vector_bytes=size)


def forecast_texts(
    config: Config,
    item: EmbeddingConfig,
    number: int,
    sample: Sample,
    models: Models,
    around: Surroundings,
    reader: TableReader | None = None,
) -> EmbeddingForecast:
    """Count the sample's tokens and time the model on it. `reader`: count those of every row instead.

    number: the embedding's place. Raise Interrupted after a stop, and what loading the model raises.
    """
    from byov_migrate.embed.measuring import text_lengths

    name = item.model or ""
    encoder, long_text = models.encoder(name), config.models[name].long_text
    texts = [content for row in sample.rows if isinstance(content := row.row.contents[number], str)]
    lengths = text_lengths(encoder, texts, long_text)
    if reader is None:
        counts = _estimated(sample, number, lengths)
    else:
        counts = _counted(reader, number, encoder, long_text, around)
    measured = _measured(encoder, list(zip(texts, lengths, strict=True)), counts.tokens.value, around)
    paces = [part.seconds / part.tokens for part in measured.slices if part.tokens]
    return EmbeddingForecast(
        property_name=item.carrier,
        dimension=encoder.dimension,
        texts=counts.texts,
        tokens=counts.tokens,
        whole_tokens=counts.whole_tokens,
        long=counts.long,
        long_text=long_text,
        seconds=measured_seconds(counts.tokens, paces, measured.processor_share),
        model=name,
        device=encoder.device,
        dtype=encoder.dtype,
        window=encoder.window,
        tokens_a_second=measured.tokens_a_second if paces else None,
        processor_share=measured.processor_share,
        measured_s=sum(part.seconds for part in measured.slices),
        vector_bytes=vector_bytes(encoder.dimension, measured.vectors),
    )


def _estimated(sample: Sample, number: int, lengths: Sequence[TextLength]) -> _Counts:
    """From the rows drawn; those without text, and those that are rejected, count as nothing."""
    rows, drawn = sample.population, iter(lengths)
    by_row = [next(drawn) if isinstance(row.row.contents[number], str) else None for row in sample.rows]
    by_row += [None] * len(sample.rejected)
    texts = share_of([length is not None for length in by_row], rows).times(rows)
    return _Counts(
        texts,
        mean_of([length.read if length else 0 for length in by_row], rows).times(rows),
        mean_of([length.whole if length else 0 for length in by_row], rows).times(rows),
        share_of([length.is_long for length in lengths], round(texts.value)),
    )


def _counted(reader: TableReader, number: int, encoder: Encoder, long_text: LongText, around: Surroundings) -> _Counts:
    """Of every row of the table, read in pages."""
    from byov_migrate.embed.measuring import text_lengths

    texts = tokens = whole = long = 0
    for page in every_row(reader, 1000):
        _require_going_on(around)
        contents = (row.contents[number] for row in page if isinstance(row, Row))
        lengths = text_lengths(encoder, [text for text in contents if isinstance(text, str)], long_text)
        texts += len(lengths)
        tokens += sum(length.read for length in lengths)
        whole += sum(length.whole for length in lengths)
        long += sum(length.is_long for length in lengths)
    return _Counts(exactly(texts), exactly(tokens), exactly(whole), exactly(long / texts if texts else 0.0))


def _measured(
    encoder: Encoder, texts: Sequence[tuple[str, TextLength]], tokens: float, around: Surroundings
) -> Measured:
    """Timed as in the pipeline, in a thread of its own.

    On a busy machine torch was seen to be three times as slow in the main thread: its helpers wait there by spinning,
    as long as there are no more of them than processors.
    """
    from byov_migrate.embed.measuring import measure

    timed = partial(measure, monotonic=around.monotonic, is_stopped=around.stop.is_set)
    with ThreadPoolExecutor(1, thread_name_prefix="embed") as thread:
        measured = thread.submit(timed, encoder, texts, PAGE_ROWS_EMBEDDED, tokens).result()
    _require_going_on(around)
    return measured


def _require_going_on(around: Surroundings) -> None:
    if around.stop.is_set():
        raise Interrupted
