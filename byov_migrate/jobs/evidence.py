"""What stands behind a verify's verdict: asked of RushDB again, kept in the state, measured on a sample. For a page.

Nothing here holds a value of a row: names, numbers, moments, and the documents that RushDB was asked with.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from byov_migrate import source
from byov_migrate.config import Config, EmbeddingConfig, TableConfig
from byov_migrate.jobs.documents import VECTOR_NOTICE, leaving, plan_digest, staying
from byov_migrate.jobs.planning.sampling import draw_sample
from byov_migrate.jobs.reading import Reading, reading
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.table_work import Models
from byov_migrate.jobs.verify import TableVerification, Verification
from byov_migrate.source import SourceIdentity
from byov_migrate.state import State
from byov_migrate.target.where import EVERY_RECORD
from byov_migrate.target.wire import Index

SCORE_BINS = 1000
LAST_RUNS = 30
SAMPLE_ROWS = 2000
_ASKABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Answer:
    """How many records of a label match. where: the whole document that was asked. at: seconds since 1970."""

    where: Mapping[str, Any]
    records: int
    at: float


@dataclass(frozen=True, slots=True)
class Sent:
    """A property that leaves, where it comes from, and in how many records RushDB has it."""

    property_name: str
    origin: str
    there: Answer


@dataclass(frozen=True, slots=True)
class Withheld:
    """Something whose text stays: a column, or a property that carries a vector and has to be empty.

    there: records with a property of this name; None when RushDB cannot be asked for it. empty: those that hold "".
    """

    name: str
    origin: str
    there: Answer | None
    empty: Answer | None = None

    @property
    def filled(self) -> int | None:
        """Records in which something stands; 0 is what was promised."""
        if self.there is None:
            return None
        return self.there.records - (self.empty.records if self.empty else 0)


@dataclass(frozen=True, slots=True)
class TokenLengths:
    """Tokens of sampled texts, prompt and special ones included, before anything is cut. rows: drawn from."""

    tokens: tuple[int, ...]
    rows: int
    window: int

    @property
    def long(self) -> int:
        """Texts that are longer than what the model reads at once."""
        return sum(count > self.window for count in self.tokens)


@dataclass(frozen=True, slots=True)
class EmbeddingEvidence:
    """One embedding. vectors: as RushDB counts them in the index, None without one, at `at` seconds since 1970.

    fingerprint, window, long_text: of the model, None for ready vectors. scores: one a probe, number of a bin, of
    `score_bins` from 0 to 1 -> vectors. columns: what is read to make it.
    """

    property_name: str
    columns: tuple[str, ...]
    is_ready: bool
    model: str | None
    fingerprint: str | None
    dimension: int | None
    window: int | None
    long_text: str | None
    similarity: str
    vectors: int | None
    at: float
    lengths: TokenLengths | None
    scores: tuple[Mapping[int, int], ...]
    score_bins: int = SCORE_BINS


@dataclass(frozen=True, slots=True)
class TableEvidence:
    """One table. filters: column and operator of each; their values stand in the configuration."""

    table: str
    label: str
    columns: tuple[str, ...]
    filters: tuple[str, ...]
    records: Answer
    sent: tuple[Sent, ...]
    withheld: tuple[Withheld, ...]
    embeddings: tuple[EmbeddingEvidence, ...]
    rejects: int
    accepted: int


@dataclass(frozen=True, slots=True)
class RunEvidence:
    """One run. digest: of the plan it carried out, None where none was noted. seconds: of the work on its tables."""

    id: str
    command: str
    started_at: float
    ended_at: float | None
    exit_code: int | None
    digest: str | None
    rows: int
    deleted: int
    seconds: float

    @property
    def rate(self) -> float | None:
        """Rows written a second; None when it wrote none."""
        return self.rows / self.seconds if self.rows and self.seconds > 0 else None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the page shows. Moments are seconds since 1970; runs: the last ones, oldest first."""

    name: str
    made_at: float
    digest: str
    database: str
    system: str
    server_version: int
    url: str
    kind: str
    project: str | None
    tables: tuple[TableEvidence, ...]
    runs: tuple[RunEvidence, ...]
    found: Verification
    notice: str = field(default=VECTOR_NOTICE)


def gather(config: Config, found: Verification, *, surroundings: Surroundings | None = None) -> Evidence:
    """Ask both ends and the state for what belongs to this verdict. Writes nothing.

    Raise what reading either end raises, Interrupted after a stop, and what loading a model raises where texts are
    embedded and vectors were not left out.
    """
    around = surroundings or Surroundings()
    with reading(config, around) as ends:
        identity = source.source_identity(ends.session)
        server = ends.patience.retry(ends.wire.server)
        indexes = ends.patience.retry(ends.wire.indexes)
        gatherer = _Gatherer(ends, around, found, tuple(indexes), Models(ends.config, around.log))
        return Evidence(
            name=config.name,
            made_at=around.clock(),
            digest=plan_digest(config),
            database=identity.database,
            system=_system(config, identity),
            server_version=identity.server_version,
            url=config.target.base_url,
            kind=server.kind,
            project=indexes[0].project if indexes else None,
            tables=tuple(gatherer.table(table) for table in found.tables),
            runs=tuple(_runs(ends.state)),
            found=found,
        )


def _system(config: Config, identity: SourceIdentity) -> str:
    return config.state.source_id or identity.system_identifier or "hidden"


@dataclass(frozen=True)
class _Gatherer:
    """Asks about one table after the other."""

    ends: Reading
    around: Surroundings
    found: Verification
    indexes: tuple[Index, ...]
    models: Models

    def table(self, proved: TableVerification) -> TableEvidence:
        """All about one table that was verified."""
        table = self.ends.config.table(proved.table)
        rejects = self.ends.state.ledger.rejects(table.name)
        return TableEvidence(
            table=table.name,
            label=table.label,
            columns=columns_read(table, self.ends.reader(table).shape.key),
            filters=tuple(f"{item.name} {item.operator}" for item in table.where),
            records=self._count(table, {}),
            sent=tuple(self._sent(table)),
            withheld=tuple(self._withheld(table)),
            embeddings=tuple(self._embeddings(table, proved)),
            rejects=sum(row["accepted_at"] is None for row in rejects),
            accepted=sum(row["accepted_at"] is not None for row in rejects),
        )

    def _count(self, table: TableConfig, condition: Mapping[str, Any]) -> Answer:
        where = {**EVERY_RECORD, **condition}
        _, records = self.ends.patience.retry(partial(self.ends.wire.find, table.label, where, limit=1))
        return Answer(where, records, self.around.clock())

    def _sent(self, table: TableConfig) -> Iterator[Sent]:
        for item in leaving(table, self.ends.reader(table).links):
            yield Sent(item.property_name, item.origin, self._there(table, item.property_name))

    def _there(self, table: TableConfig, name: str) -> Answer:
        return self._count(table, {name: {"$exists": True}})

    def _withheld(self, table: TableConfig) -> Iterator[Withheld]:
        for name in silent_carriers(table):
            empty = self._count(table, {name: {"$in": [""]}})
            yield Withheld(name, "property that carries a vector", self._there(table, name), empty)
        for column, is_askable in columns_that_stay(table):
            yield Withheld(column, "column that stays", self._there(table, column) if is_askable else None)

    def _embeddings(self, table: TableConfig, proved: TableVerification) -> Iterator[EmbeddingEvidence]:
        fields = self.ends.state.scope.fields()
        for number, item in enumerate(table.embeddings):
            if not item.role.complete:
                continue
            index = self._index(table, item)
            lengths = None if item.vector or "vectors" in self.found.skipped else self._lengths(table, number, proved)
            model = None if item.vector else self.ends.config.models[item.model or ""]
            count = None if index is None else self.ends.patience.retry(partial(self.ends.wire.count_vectors, index))
            yield EmbeddingEvidence(
                property_name=item.carrier,
                columns=_columns_embedded(item),
                is_ready=item.vector is not None,
                model=None if item.vector else item.model,
                fingerprint=fields.get(f"tables[{table.name}].embeddings[{item.carrier}].fingerprint"),
                dimension=index.dimension if index else None,
                window=lengths.window if lengths else None,
                long_text=model.long_text if model else None,
                similarity=item.similarity,
                vectors=count,
                at=self.around.clock(),
                lengths=lengths,
                scores=_scores(self.ends.state, table.name, item.carrier),
            )

    def _index(self, table: TableConfig, item: EmbeddingConfig) -> Index | None:
        wanted = (table.label, item.carrier)
        return next((index for index in self.indexes if (index.label, index.property_name) == wanted), None)

    def _lengths(self, table: TableConfig, number: int, proved: TableVerification) -> TokenLengths:
        encoder = self.models.encoder(table.embeddings[number].model or "")
        sample = draw_sample(self.ends.reader(table), proved.rows, (), SAMPLE_ROWS)
        texts = [content for item in sample.rows if isinstance(content := item.row.contents[number], str)]
        return TokenLengths(tuple(encoder.count_tokens(texts)), proved.rows, encoder.window)


def columns_read(table: TableConfig, key: Sequence[Any]) -> tuple[str, ...]:
    """Columns that are looked at, each once."""
    names = [*(column.name for column in key), *table.columns, *staying(table)]
    names += [column for item in table.embeddings for column in _columns_embedded(item)]
    names += [item.name for item in table.where]
    return tuple(dict.fromkeys(names))


def _columns_embedded(item: EmbeddingConfig) -> tuple[str, ...]:
    """Columns that an embedding is made of: the vectors' own, or those of its text."""
    if item.vector is not None:
        return (item.vector,)
    return tuple(dict.fromkeys(item.text.columns)) if item.text else ()


def columns_that_stay(table: TableConfig) -> Iterator[tuple[str, bool]]:
    """Columns whose name is not that of a carrier, and whether RushDB can be asked for a property of that name.

    It cannot when another column leaves under it, or when the name is no identifier: RushDB takes no other.
    """
    carriers, left = set(silent_carriers(table)), {item.property_name for item in leaving(table)}
    for column in staying(table):
        if column not in carriers:
            yield column, _ASKABLE.fullmatch(column) is not None and column not in left


def silent_carriers(table: TableConfig) -> Iterator[str]:
    """Properties that carry a vector and have to be empty."""
    for item in table.embeddings:
        if not item.role.live:
            continue
        if not item.send_text:
            yield item.property_name
        if item.spare:
            yield item.spare_property


def _scores(state: State, table: str, property_name: str) -> tuple[dict[int, int], ...]:
    """Scores of all stored vectors against each probe, counted in bins."""
    bins: tuple[Counter[int], ...] = (Counter(), Counter(), Counter())
    for _, scores in state.ledger.vectors(table, property_name):
        for counted, score in zip(bins, scores, strict=True):
            counted[int(score * SCORE_BINS)] += 1
    return tuple(dict(sorted(counted.items())) for counted in bins)


def _runs(state: State) -> Iterator[RunEvidence]:
    for run in reversed(state.runs.last(LAST_RUNS)):
        tables = [item for item in (run["summary"] or {}).values() if isinstance(item, dict)]
        yield RunEvidence(
            id=run["id"],
            command=run["command"],
            started_at=run["started_at"],
            ended_at=run["ended_at"],
            exit_code=run["exit_code"],
            digest=_digest_of(state, run["id"]),
            rows=sum(map(rows_written, tables)),
            deleted=sum(item.get("deleted", 0) for item in tables),
            seconds=sum(item.get("seconds", 0.0) for item in tables),
        )


def rows_written(summary: Mapping[str, Any]) -> int:
    """A backfill counts its rows, a sync those it made and those it wrote over."""
    rows = summary.get("rows", summary.get("created", 0) + summary.get("updated", 0))
    return int(rows)


def _digest_of(state: State, run: str) -> str | None:
    noted = [event["fields"].get("digest") for event in state.runs.events(run) if event["action"] == "plan-digest"]
    return noted[-1] if noted else None
