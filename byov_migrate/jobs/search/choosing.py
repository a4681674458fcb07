"""Which vectors are searched, and by which model: never by another one than made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from byov_migrate.config import Config, EmbeddingConfig, ModelConfig, TableConfig
from byov_migrate.errors import ConfigurationError, Refused
from byov_migrate.state.scope import REEMBED


@dataclass(frozen=True, slots=True)
class Searched:
    """The records of a table, by one of its embeddings."""

    table: TableConfig
    embedding: EmbeddingConfig

    @property
    def number(self) -> int:
        """The embedding's place in its table."""
        return self.table.embeddings.index(self.embedding)

    def __str__(self) -> str:
        return f"{self.table.label}.{self.embedding.property_name}"


def choose(config: Config, table: str | None = None, embedding: str | None = None) -> Searched:
    """What a search means: the first table that has such an embedding, by the first of them.

    table: name or label. embedding: its property. Raise ConfigurationError naming those that there are.
    """
    if table is not None:
        config.table(table)
    tables = [entry for entry in config.tables if table is None or table in (entry.name, entry.label)]
    found = [Searched(entry, item) for entry in tables for item in entry.embeddings]
    if not found:
        of = f"of {table}" if table else "here"
        raise ConfigurationError(f"nothing {of} is embedded, so nothing can be searched by meaning")
    live = [one for one in found if one.embedding.role.live]
    for one in live:
        if embedding in (None, one.embedding.property_name):
            return one
    for one in found:
        if embedding == one.embedding.carrier:  # the other vectors, while there are two kinds
            return one
    known = ", ".join(map(str, live))
    raise ConfigurationError(f"--embedding: no embedding has the property {embedding!r}; there are: {known}")


def query_model(config: Config, searched: Searched) -> ModelConfig:
    """The model for queries. Raise ConfigurationError when none is named."""
    embedding = searched.embedding
    if embedding.model is None:
        raise ConfigurationError(
            f"the vectors of {embedding.property_name} come from PostgreSQL, and no model is named to embed a query"
            ' with; add model = "NAME" to that embedding'
        )
    return config.models[embedding.model]


def require_stored_model(fields: Mapping[str, Any], searched: Searched, model: ModelConfig, fingerprint: str) -> None:
    """Raise Refused unless this model made the stored vectors: a vector of another model would rank by chance.

    fields: the state's scope. Of ready vectors nobody knows which model made them, so only their dimension can tell.
    """
    if searched.embedding.vector is not None:
        return
    stored = stored_fingerprint(fields, searched)
    if stored is None:
        raise Refused(
            f"the state knows no vectors of {searched}, so no model fits them", next_step="byov-migrate backfill"
        )
    if stored != fingerprint:
        raise Refused(
            f"the model at {model.path.name} is not the one that made the stored vectors of {searched} (now"
            f" {fingerprint[:12]}, then {stored[:12]}), or its document_prompt, max_tokens, normalize or long_text are"
            " not",
            next_step=f"put the old ones back; to go over to the new ones: {REEMBED}",
        )


def stored_fingerprint(fields: Mapping[str, Any], searched: Searched) -> str | None:
    """Of the model that made the stored vectors; None when the state knows none."""
    place = f"tables[{searched.table.name}].embeddings[{searched.embedding.carrier}].fingerprint"
    found: str | None = fields.get(place)
    return found


def require_dimension(searched: Searched, stored: int | None, query: int) -> None:
    """Raise Refused when the query's vector has another size than the stored ones."""
    if stored is not None and stored != query:
        raise Refused(
            f"the vectors of {searched} have {stored} dimensions and the query's has {query}: the model is not theirs"
        )
