"""The vector that a search asks with: of a text, or of a row that others are to be like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from byov_migrate.errors import ConfigurationError
from byov_migrate.jobs.reading import Reading
from byov_migrate.jobs.search.choosing import Searched, query_model, require_stored_model
from byov_migrate.records import Rejected, Vector
from byov_migrate.source.keys import parse_key

if TYPE_CHECKING:
    from byov_migrate.embed import Encoder


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked. `row`: the `byovKey` of the row that the vector is of, to be left out; times in seconds."""

    vector: Vector
    row: str | None
    loading_s: float = 0.0
    embedding_s: float = 0.0
    reading_s: float = 0.0


def text_query(ends: Reading, searched: Searched, text: str, monotonic: Callable[[], float]) -> Query:
    """A text with the query prompt. Raise Refused when the model is not the one whose vectors are stored."""
    began = monotonic()
    encoder = _encoder(ends, searched)
    loaded = monotonic()
    vector = encoder.encode_query(text)
    return Query(vector, None, loading_s=loaded - began, embedding_s=monotonic() - loaded)


def row_query(ends: Reading, searched: Searched, key: str, monotonic: Callable[[], float]) -> Query:
    """A row as it stands in PostgreSQL: its ready vector, or its text embedded as a document.

    key: canonical, also where the keys are sent as hashes. Raise ConfigurationError when there is nothing to ask with.
    """
    began = monotonic()
    reader = ends.reader(searched.table)
    position = parse_key([column.base for column in reader.shape.key], key)
    if position is None:
        raise ConfigurationError(f"--like: this is no key of {searched.table.name}")
    own_key = reader.rows_reader.key(position)
    if searched.embedding.vector is not None:
        vector = _ready_vector(ends, searched, position)
        return Query(vector, own_key, reading_s=monotonic() - began)
    text = _text(ends, searched, position)
    read = monotonic()
    encoder = _encoder(ends, searched)
    loaded = monotonic()
    vector = _document_vector(encoder, text)
    times = {"reading_s": read - began, "loading_s": loaded - read, "embedding_s": monotonic() - loaded}
    return Query(vector, own_key, **times)


def _encoder(ends: Reading, searched: Searched) -> Encoder:
    from byov_migrate.embed import load_encoder

    model = query_model(ends.config, searched)
    encoder = load_encoder(model)
    require_stored_model(ends.state.scope.fields(), searched, model, encoder.fingerprint)
    return encoder


def _ready_vector(ends: Reading, searched: Searched, position: tuple[str, ...]) -> Vector:
    rows = ends.reader(searched.table).rows([position])
    if not rows:
        raise _no_row(searched)
    [row] = rows
    if isinstance(row, Rejected):
        raise ConfigurationError(f"--like: this row cannot be sent: {row.reason}")
    content = row.contents[searched.number]
    if not isinstance(content, np.ndarray):
        raise ConfigurationError(f"--like: this row has no vector in column {searched.embedding.vector}")
    return content


def _text(ends: Reading, searched: Searched, position: tuple[str, ...]) -> str:
    found = ends.reader(searched.table).texts([position])
    if not found:
        raise _no_row(searched)
    [texts] = found.values()
    text = texts[searched.number]
    if text is None:
        raise ConfigurationError(f"--like: this row has no text for {searched}")
    return text


def _no_row(searched: Searched) -> ConfigurationError:
    return ConfigurationError(f"--like: no row of {searched.table.name} that is migrated has this key")


def _document_vector(encoder: Encoder, text: str) -> Vector:
    encoded = encoder.encode_documents([text])
    for code, reason in encoded.refused.values():
        raise ConfigurationError(f"--like: the row's text has no vector ({code}): {reason}")
    vector: Vector = encoded.vectors[0]
    return vector
