"""One table under proof: how its rows and its records are read, and turned into what is compared."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from byov_migrate import source
from byov_migrate.config import EmbeddingConfig, TableConfig
from byov_migrate.digests import probe_scores
from byov_migrate.jobs import table_work
from byov_migrate.jobs.documents import Composer, leaving
from byov_migrate.jobs.embedding import EmbeddingPlan
from byov_migrate.jobs.reading import Reading
from byov_migrate.jobs.table_work import Models
from byov_migrate.records import Rejected, Row, Scores
from byov_migrate.source import TableReader
from byov_migrate.state.comparison import UNSAID, Side, SourceRow, TargetRecord
from byov_migrate.target.wire import Index, Stored

UNHASHABLE = "-"


@dataclass(frozen=True)
class Subject:
    """A table with its two ends. indexes: one an embedding, None where RushDB has none of that size.

    columns: the properties that columns become. allowed: every name that a record may have. by_text: where a record's
    mark is not of these vectors, take it for what it says of the text.
    """

    ends: Reading
    table: TableConfig
    reader: TableReader
    plans: tuple[EmbeddingPlan, ...]
    composer: Composer
    indexes: tuple[Index | None, ...]
    columns: frozenset[str]
    allowed: frozenset[str]
    by_text: bool = False

    @property
    def properties(self) -> tuple[str, ...]:
        """The properties that carry vectors, in the order of the embeddings."""
        return tuple(plan.config.carrier for plan in self.plans)

    def source_rows(self, rows: Sequence[Row | Rejected]) -> list[SourceRow]:
        """Rows as what is compared. Expected scores of ready vectors are computed here, the others the state knows."""
        plain = [row for row in rows if isinstance(row, Row)]
        scores = [self._ready_scores(number, plain) for number in range(len(self.plans))]
        return [self._source_row(row, scores) for row in rows]

    def _ready_scores(self, number: int, rows: Sequence[Row]) -> dict[str, Scores]:
        ready = {row.key: content for row in rows if isinstance(content := row.contents[number], np.ndarray)}
        if not ready:
            return {}
        return dict(zip(ready, probe_scores(np.stack(list(ready.values())), self.plans[number].probes), strict=True))

    def _source_row(self, row: Row | Rejected, scores: Sequence[Mapping[str, Scores]]) -> SourceRow:
        piece = self.ends.digests.slice_of(row.key)
        if isinstance(row, Rejected):
            return SourceRow(row.key, piece, row.position, "", row.code, tuple(Side(None) for _ in self.plans))
        record_hash, marks = self.composer.hashes(self.canonical(row))
        carried = {item.property_name for item, mark in zip(self.table.embeddings, marks, strict=True) if mark}
        sides = tuple(
            Side(mark, known.get(row.key), carriers=int(item.property_name in carried))
            for item, mark, known in zip(self.table.embeddings, marks, scores, strict=True)
        )
        return SourceRow(row.key, piece, row.position, record_hash, None, sides)

    def canonical(self, row: Row) -> Row:
        """The row as RushDB gives its values back."""
        canonical = self.ends.wire.canonical
        properties = {name: canonical(value) for name, value in row.properties.items()}
        if all(map(operator.is_, properties.values(), row.properties.values())):
            return row
        return replace(row, properties=properties)

    def target_record(self, record: Stored) -> TargetRecord:
        """A record as what is compared."""
        held = record.properties
        computed = self._computed({name: held[name] for name in self.columns & held.keys()})
        piece = held.get("byovSlice")
        return TargetRecord(
            record_id=record.record_id,
            key=record.key,
            slice=piece if isinstance(piece, str) else "",
            stored=_text(held, "byovHash"),
            computed=computed,
            batch=_text(held, "byovBatch"),
            odd=() if isinstance(held.get("byovKey"), str) else ("byovKey",),
            unknown=tuple(sorted(held.keys() - self.allowed)),
            sides=tuple(self._target_side(plan, held) for plan in self.plans),
        )

    def _computed(self, held: Mapping[str, Any]) -> str:
        """The hash of these values; a value of a kind that nobody sends has none."""
        try:
            canonical = self.ends.wire.canonical
            return self.ends.digests.record_hash({name: canonical(value) for name, value in held.items()})
        except (TypeError, ValueError, OverflowError):
            return UNHASHABLE

    def _target_side(self, plan: EmbeddingPlan, held: Mapping[str, Any]) -> Side:
        embedding = plan.config
        carriers = _carriers(embedding)
        present = [name for name in carriers if name in held]
        carried = 1 if len(present) == len(carriers) else 2 if present else 0
        silent = carriers[1:] if embedding.send_text else carriers
        spoken = tuple(name for name in silent if held.get(name, "") != "")
        mark = _text(held, f"byovText_{embedding.property_name}")
        if not embedding.role.marked:
            mark = _restamped(mark, plan.fingerprint) if self.by_text else UNSAID
        return Side(mark, None, carried, spoken, self._sent(plan, held))

    def _sent(self, plan: EmbeddingPlan, held: Mapping[str, Any]) -> str | None:
        """The mark of the text that was sent; None where none is."""
        text = held.get(plan.config.property_name)
        if not (plan.config.send_text and plan.config.role.live) or text is None or _is_only_carrier(plan, held):
            return None
        return self.ends.digests.text_hash(text, plan.fingerprint or "") if isinstance(text, str) else UNHASHABLE


def _is_only_carrier(plan: EmbeddingPlan, held: Mapping[str, Any]) -> bool:
    """Whether the property is there for other vectors alone: the row has no text of this embedding."""
    name = plan.config.property_name
    return held[name] == "" and f"byovText_{name}" not in held


def _restamped(mark: str | None, fingerprint: str | None) -> str | None:
    """The mark that the same text would have by this model."""
    return None if mark is None else f"{mark.partition(':')[0]}:{(fingerprint or 'ready')[:12]}"


def _carriers(embedding: EmbeddingConfig) -> tuple[str, ...]:
    name = embedding.property_name
    return (name, embedding.spare_property) if embedding.spare else (name,)


def _text(held: Mapping[str, Any], name: str) -> str | None:
    """A property of ours as text; a value of another type is none of ours and equals nothing."""
    value = held.get(name)
    return value if value is None or isinstance(value, str) else UNHASHABLE


def examine(ends: Reading, table: TableConfig, models: Models, *, by_text: bool = False) -> Subject:
    """A table as a sync would prepare it, with nothing claimed or made at the target.

    Vectors that are still being filled in are left out. Raise Refused when the state belongs to other settings, another
    model or other ends.
    """
    here = ends.patience.retry(ends.wire.indexes)
    known = {index.property_name: index for index in here if index.label == table.label}
    reader = _reader(ends, table, known)
    plans = table_work.embedding_plans(table, reader, models, ends.digests, lazily=True)
    identity = source.source_identity(ends.session)
    system = ends.config.state.source_id or identity.system_identifier or "hidden"
    project = here[0].project if here else None
    places = table_work.place_fields(system, identity.database, ends.digests, project)
    table_work.settle_scope(ends.state, table, reader, plans, places, ends.links)
    if not all(item.role.complete for item in table.embeddings):
        table, plans = _without_incomplete(table, plans)
        reader = _reader(ends, table, known)
    fingerprints = tuple(plan.fingerprint for plan in plans)
    composer = Composer(table, ends.digests, ends.state.runs.state_id, fingerprints, reader.links)
    indexes = tuple(_fitting(plan, here, table.label) for plan in plans)
    columns = frozenset(table.outgoing_name(column) for column in table.columns)
    allowed = frozenset(item.property_name for item in leaving(table, composer.links)) | set(table.keep_properties)
    return Subject(ends, table, reader, plans, composer, indexes, columns, allowed, by_text)


def _without_incomplete(
    table: TableConfig, plans: tuple[EmbeddingPlan, ...]
) -> tuple[TableConfig, tuple[EmbeddingPlan, ...]]:
    complete = tuple(item for item in table.embeddings if item.role.complete)
    kept = tuple(plan for plan in plans if plan.config.role.complete)
    return table.model_copy(update={"embeddings": complete}), kept


def _reader(ends: Reading, table: TableConfig, known: Mapping[str, Index]) -> TableReader:
    """A reader that knows the vectors' dimensions even when the table holds no vector."""
    reader = ends.reader(table)
    found = list(zip(table.embeddings, reader.dimensions, strict=True))
    if all(own is not None or item.vector is None for item, own in found):
        return reader
    stored = [known[item.carrier].dimension if item.carrier in known else own for item, own in found]
    return source.open_table(ends.session, table, ends.digests, dimensions=stored, links=ends.links)


def _fitting(plan: EmbeddingPlan, indexes: Sequence[Index], label: str) -> Index | None:
    wanted = (label, plan.config.carrier, plan.dimension)
    for index in indexes:
        if (index.label, index.property_name, index.dimension) == wanted:
            return index
    return None
