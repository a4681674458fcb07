"""Rows become documents, documents with vectors become batches. Pure: no connection, no clock.

`property_names` is the list of everything that can leave; `Composer.document` builds bodies of exactly these names, and
`plan`, README and reports print the list from here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from byov_migrate.config import Config, EmbeddingConfig, Entry, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.records import Batch, Content, Document, Embedded, Outgoing, Position, Row
from byov_migrate.source import LinkShape

VECTOR_NOTICE = (
    "A vector is derived from the text and can be partly turned back into it; treat the index as confidential."
)


@dataclass(frozen=True, slots=True)
class Leaving:
    """One thing that leaves for RushDB, and where it comes from."""

    property_name: str
    origin: str


def leaving(table: TableConfig, links: Sequence[LinkShape] = ()) -> list[Leaving]:
    """Everything of one table that leaves, vectors apart. links: those that its rows carry."""
    sent = [Leaving(table.outgoing_name(column), _origin(table, column)) for column in table.columns]
    key = "HMAC of the key" if table.hash_key_values else "the key"
    ours = [
        Leaving("byovKey", key),
        Leaving("byovHash", "keyed hash of the columns above"),
        Leaving("byovBatch", "name of the batch"),
        Leaving("byovSlice", "keyed hash of the key"),
    ]
    refs = [Leaving(link.ref_property, f"the key of the {link.target.entry.label} it leads to") for link in links]
    return [*sent, *ours, *refs, *(item for embedding in table.embeddings for item in _embedding_leaving(embedding))]


def _origin(table: TableConfig, column: str) -> str:
    if isinstance(table, Entry) and table.distinct is not None:
        return f"each value of column {column} of {table.owner}"
    return f"column {column}"


def _embedding_leaving(embedding: EmbeddingConfig) -> Iterator[Leaving]:
    if not embedding.role.live:
        return  # another vector of what is listed already
    name = embedding.property_name
    for carrier in (name, embedding.spare_property) if embedding.spare else (name,):
        is_text = embedding.send_text and carrier == name
        purpose = "which carries the vector" if carrier == embedding.carrier else "for the vectors of a later model"
        yield Leaving(carrier, "the text" if is_text else f"an empty string, {purpose}")
    yield Leaving(f"byovText_{name}", "keyed hash of what was embedded, and the model's fingerprint")


def staying(table: TableConfig) -> list[str]:
    """Columns that are read and never sent."""
    read = [column for item in table.embeddings if item.text for column in item.text.columns]
    read += [item.vector for item in table.embeddings if item.vector]
    sent_texts = {column for item in table.embeddings if item.text and item.send_text for column in item.text.columns}
    return [column for column in dict.fromkeys(read) if column not in table.columns and column not in sent_texts]


def plan_digest(config: Config) -> str:
    """12 hex digits over what leaves and what stays, whatever the data: what was approved is what is run.

    The same for the same names, origins, filters and embeddings; not over the ends, nor over a model's files.
    """
    content = {
        "tables": [_digested(table) for table in config.tables],
        "nodes": [item.model_dump(mode="json", exclude={"unused"}) for item in config.nodes],
        "links": [item.model_dump(mode="json") for item in config.links],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _digested(table: TableConfig) -> dict[str, Any]:
    filters = [*table.where, *([table.deleted_when] if table.deleted_when else [])]
    return {
        "table": table.name,
        "label": table.label,
        "leaving": [asdict(item) for item in leaving(table)],
        "staying": staying(table),
        "types": dict(table.types),
        "filters": [asdict(item) for item in filters],
        "embeddings": [_digested_embedding(item) for item in table.embeddings],
    }


def _digested_embedding(item: EmbeddingConfig) -> dict[str, Any]:
    text = item.text.source if item.text else None
    return {**item.model_dump(mode="json", exclude={"text"}), "text": text}


@dataclass(frozen=True)
class Composer:
    """Builds the documents of one table.

    fingerprints: the model's, one an embedding; None for ready vectors. links: those that rows carry.
    """

    table: TableConfig
    digests: Digests
    state_id: str
    fingerprints: tuple[str | None, ...]
    links: tuple[LinkShape, ...] = ()

    def document(self, row: Row) -> Document:
        """A row's body but for its batch. A content that is None: no vector, and none of what carries it."""
        record_hash, marks = self.hashes(row)
        ours: dict[str, Outgoing] = {
            "byovKey": row.key,
            "byovHash": record_hash,
            "byovSlice": self.digests.slice_of(row.key),
        }
        for embedding, content, mark in zip(self.table.embeddings, row.contents, marks, strict=True):
            ours |= _carriers(embedding, content, mark, ours)
        for link in self.links:
            if keys := row.refs.get(link.type):
                ours[link.ref_property] = list(keys) if link.is_list else keys[0]
        body = {**row.properties, **ours}
        return Document(row.key, row.position, record_hash, body, marks, row.way, row.known, row.refs)

    def hashes(self, row: Row) -> tuple[str, tuple[str | None, ...]]:
        """What tells whether a stored record is still the row: its hash, and the hash of each content."""
        marks = tuple(map(self._text_hash, row.contents, self.fingerprints))
        return self.digests.record_hash(row.properties), marks

    def _text_hash(self, content: Content, fingerprint: str | None) -> str | None:
        if content is None:
            return None
        if isinstance(content, str):
            return self.digests.text_hash(content, fingerprint or "")
        return self.digests.vector_hash(content)

    def batch(self, rows: Sequence[Embedded], covers: Sequence[Position]) -> Batch:
        """Name the batch after its content and write the name into every document. All rows go the same way."""
        documents = [item.document for item in rows]
        identities = ((item.key, item.hash, item.text_hashes, item.refs) for item in documents)
        over = (item.known.batch for item in documents if item.known and item.known.batch)
        name = self.digests.batch_id(self.state_id, identities, over)
        way = rows[0].document.way if rows else "create"
        return Batch(name, tuple(_stamped(item, name) for item in rows), tuple(covers), way)


def _carriers(
    embedding: EmbeddingConfig, content: Content, mark: str | None, others: Mapping[str, Outgoing]
) -> dict[str, Outgoing]:
    """The properties that carry one vector. RushDB attaches it only to a property that exists; an empty one will do."""
    if content is None or mark is None:
        return {}
    name = embedding.property_name
    if not embedding.role.live:
        return {carrier: "" for carrier in (name, embedding.spare_property) if carrier not in others}
    text = content if embedding.send_text and isinstance(content, str) else ""
    spare: dict[str, Outgoing] = {embedding.spare_property: ""} if embedding.spare else {}
    return {name: text, f"byovText_{name}": mark, **spare}


def _stamped(item: Embedded, name: str) -> Embedded:
    document = replace(item.document, properties={**item.document.properties, "byovBatch": name})
    return Embedded(document, item.vectors, item.scores)
