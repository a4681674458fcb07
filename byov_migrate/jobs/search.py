"""Search by meaning: the query is embedded here, RushDB ranks, and the text beside each hit comes from PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from byov_migrate.config import Config, EmbeddingConfig, ModelConfig, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.errors import ConfigurationError, Refused
from byov_migrate.filters import Filter
from byov_migrate.jobs.reading import Reading, reading
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.records import Vector
from byov_migrate.target.where import EVERY_RECORD, to_where
from byov_migrate.target.wire import Index, Stored


@dataclass(frozen=True, slots=True)
class Hit:
    """One record, best first. `text` is read from PostgreSQL; None when the row is gone or has none."""

    score: float
    key: str
    properties: Mapping[str, Any]
    text: str | None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """`exact`: every record was compared; else the index answered, whose scores are off by up to 0.004."""

    label: str
    property_name: str
    hits: tuple[Hit, ...]
    exact: bool
    seconds: float


def search(
    config: Config,
    text: str,
    *,
    where: Sequence[Filter] = (),
    limit: int = 10,
    skip: int = 0,
    exact: bool = False,
    table: str | None = None,
    surroundings: Surroundings | None = None,
) -> SearchResult:
    """The records nearest to a text. The query vector and the values of `where` leave; the text does not.

    Raise ConfigurationError when the embedding has no model for queries, Refused when the model on disk is not the one
    whose vectors are stored.
    """
    around = surroundings or Surroundings()
    entry, embedding = searchable(config, table)
    model = _query_model(config, embedding)
    conditions = to_where(where, entry.outgoing_name)
    with reading(config, around) as ends:
        vector = query_vector(ends, entry, embedding, model, text)
        index = _index_of(ends, entry, embedding)
        began = around.monotonic()
        found, was_exact = _ask(ends, index, vector, conditions, (limit, skip), exact=exact)
        seconds = around.monotonic() - began
        texts = ends.local_texts(entry, embedding, [record.key for record in found])
        hits = tuple(Hit(record.score or 0.0, record.key, record.properties, texts.get(record.key)) for record in found)
    return SearchResult(entry.label, embedding.property_name, hits, was_exact, seconds)


def searchable(config: Config, name: str | None) -> tuple[TableConfig, EmbeddingConfig]:
    """The table and embedding a search without more words means: the first."""
    candidates = [config.table(name)] if name else [table for table in config.tables if table.embeddings]
    if not candidates or not candidates[0].embeddings:
        raise ConfigurationError("nothing here is embedded, so nothing can be searched by meaning")
    return candidates[0], candidates[0].embeddings[0]


def _query_model(config: Config, embedding: EmbeddingConfig) -> ModelConfig:
    if embedding.model is None:
        raise ConfigurationError(
            f"the vectors of {embedding.property_name} come from PostgreSQL, and no model is named to embed a query"
            ' with; add model = "NAME" to that embedding'
        )
    return config.models[embedding.model]


def query_vector(
    ends: Reading, table: TableConfig, embedding: EmbeddingConfig, model: ModelConfig, text: str
) -> Vector:
    """Embed a query with the model of the stored vectors. A vector of another model would rank by chance."""
    from byov_migrate.embed import load_encoder

    encoder = load_encoder(model)
    stored = ends.state.scope.fields().get(f"tables[{table.name}].embeddings[{embedding.property_name}].fingerprint")
    if embedding.vector is None and stored is not None and stored != encoder.fingerprint:
        raise Refused(
            f"the model at {model.path.name} is not the one that made the stored vectors (now"
            f" {encoder.fingerprint[:12]}, then {stored[:12]}); put the old one back, or embed again"
        )
    return encoder.encode_query(text)


def _index_of(ends: Reading, table: TableConfig, embedding: EmbeddingConfig) -> Index:
    for index in ends.patience.retry(ends.wire.indexes):
        if (index.label, index.property_name) == (table.label, embedding.property_name):
            return index
    raise Refused(
        f"RushDB has no vector index on {table.label}.{embedding.property_name}", next_step="byov-migrate backfill"
    )


def _ask(
    ends: Reading, index: Index, vector: Vector, where: Mapping[str, Any], page: tuple[int, int], *, exact: bool
) -> tuple[list[Stored], bool]:
    """Ask the index first, and every record when it gives too few: it is shared by all labels of one size."""
    limit, skip = page
    if vector.shape != (index.dimension,):
        raise Refused(f"the index has {index.dimension} dimensions and the query {vector.shape[0]}")
    if not where and not exact:
        found = ends.patience.retry(lambda: ends.wire.search(index, vector, where=None, limit=limit, skip=skip))
        if len(found) == limit:
            return found, False
    condition = where or EVERY_RECORD
    return ends.patience.retry(lambda: ends.wire.search(index, vector, where=condition, limit=limit, skip=skip)), True


def has_vector(ends: Reading, index: Index, key: str, digests: Digests) -> bool:
    """Whether the record of a key carries a vector in an index."""
    probe = np.ascontiguousarray(digests.probes(index.dimension)[0])
    return bool(ends.patience.retry(lambda: ends.wire.search(index, probe, where={"byovKey": key}, limit=1)))
