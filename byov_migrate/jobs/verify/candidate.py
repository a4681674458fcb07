"""The vectors that searches do not use, against those that they do: the same questions, asked of both.

rows ──► both models, as documents ──┐
                                     ├──►  exact searches of both, the candidate's index  ──►  ranking.agreement
queries ──► both models, as queries ─┘
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from byov_migrate.config import TableConfig
from byov_migrate.errors import ConfigurationError, Interrupted, Refused
from byov_migrate.jobs.ranges import again_and_again
from byov_migrate.jobs.reading import Reading
from byov_migrate.jobs.search import Searched, query_model
from byov_migrate.jobs.search.choosing import require_dimension
from byov_migrate.jobs.surroundings import Progress, Surroundings
from byov_migrate.jobs.table_work import Models
from byov_migrate.jobs.verify.ranking import Answers, agreement
from byov_migrate.jobs.verify.results import Compared
from byov_migrate.jobs.verify.subject import Subject
from byov_migrate.records import KeyText, Row, Vector
from byov_migrate.state.carriers import Carrier, live_one
from byov_migrate.state.scope import REEMBED
from byov_migrate.target.where import EVERY_RECORD
from byov_migrate.target.wire import Index, Stored, Where

if TYPE_CHECKING:
    from byov_migrate.embed import Encoder

ROWS = 50
MOST_QUERIES = 1000
NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Pair:
    """Two complete sets of vectors of one embedding."""

    table: str
    label: str
    live: Carrier
    candidate: Carrier

    def __str__(self) -> str:
        return f"{self.label}.{self.live.embedding}"


def read_queries(path: Path) -> tuple[str, ...]:
    """One a line; blank lines do not count. Raise ConfigurationError, with no word of what stands there."""
    found: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for line in file:
                if text := line.strip():
                    found.append(text)
                if len(found) > MOST_QUERIES:
                    raise ConfigurationError(f"--queries: {path} holds more than {MOST_QUERIES:,} queries")
    except OSError as error:
        raise ConfigurationError(f"--queries: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"--queries: {path} is not UTF-8") from None  # the cause holds the text
    if not found:
        raise ConfigurationError(f"--queries: {path} holds no query; write one a line")
    return tuple(found)


def pairs_of(ends: Reading) -> tuple[Pair, ...]:
    """What there is to compare. Raise Refused when no embedding has two sets of vectors, both filled."""
    embeddings = [(table, item) for table in ends.config.tables for item in table.embeddings]
    pairs = [pair for table in ends.config.tables for pair in _pairs(ends, table)]
    if not pairs:
        raise Refused("--candidate: there is no second set of vectors to compare", next_step=f"{REEMBED} --model NAME")
    complete = {(table.name, item.carrier) for table, item in embeddings if item.role.complete}
    found = tuple(pair for pair in pairs if (pair.table, pair.candidate.property_name) in complete)
    if not found:
        raise Refused(f"--candidate: {'; '.join(_filled(ends, pair) for pair in pairs)}", next_step=REEMBED)
    return found


def _pairs(ends: Reading, table: TableConfig) -> Iterator[Pair]:
    for embedding in dict.fromkeys(item.property_name for item in table.embeddings):
        carriers = ends.state.carriers.of(table.name, embedding)
        for carrier in carriers:
            if not carrier.live:
                yield Pair(table.name, table.label, live_one(carriers), carrier)


def _filled(ends: Reading, pair: Pair) -> str:
    new, live = (
        ends.state.ledger.count_vectors(pair.table, item.property_name) for item in (pair.candidate, pair.live)
    )
    return f"{new:,} of {live:,} vectors of {pair} by {pair.candidate.making.name} are filled"


@dataclass(frozen=True)
class Contest:
    """One pair, at the two ends. Made before anything is read, so that what cannot be asked is said at once."""

    pair: Pair
    subject: Subject
    models: Models
    around: Surroundings
    queries: Sequence[str] = field(repr=False)

    def __post_init__(self) -> None:
        """Raise ConfigurationError or Refused when ready vectors have no model that embeds a query for them."""
        for number in self._numbers if self.queries else ():
            plan = self.subject.plans[number]
            if plan.encoder is None:
                searched = Searched(self.subject.table, plan.config)
                query_model(self.subject.ends.config, searched)
                require_dimension(searched, plan.dimension, self.models.identity(plan.config.model or "").dimension)

    @property
    def _numbers(self) -> tuple[int, int]:
        """Which of the table's embeddings they are: live, candidate."""
        names = self.subject.properties
        return names.index(self.pair.live.property_name), names.index(self.pair.candidate.property_name)

    def compared(self, positions: Sequence[KeyText]) -> Compared:
        """By the rows at these positions and by the queries. Raise Interrupted after a stop."""
        pair, ledger = self.pair, self.subject.ends.state.ledger
        both = len(self._indexes) == 2  # one that RushDB lacks is a difference already
        rows = list(self._rows(positions)) if both else []
        answers = list(self._answers([*rows, *self._queries()])) if both else []
        return Compared(
            table=pair.table,
            label=pair.label,
            embedding=pair.live.embedding,
            live=pair.live.property_name,
            live_model=pair.live.making.name,
            candidate=pair.candidate.property_name,
            model=pair.candidate.making.name,
            vectors=ledger.count_vectors(pair.table, pair.candidate.property_name),
            rows=agreement(answers[: len(rows)]),
            queries=agreement(answers[len(rows) :]),
        )

    @property
    def _indexes(self) -> list[Index]:
        """Of the live vectors and of the candidate."""
        return [index for number in self._numbers if (index := self.subject.indexes[number]) is not None]

    def _rows(self, positions: Sequence[KeyText]) -> Iterator[_Question]:
        """Rows that have a vector of both."""
        subject = self.subject
        read = again_and_again(partial(subject.reader.rows, positions), subject.ends.patience)
        rows = [row for row in read if isinstance(row, Row)]
        live, candidate = (self._document_vectors(number, rows) for number in self._numbers)
        for row in rows:
            if row.key in live and row.key in candidate:
                yield _Question(live[row.key], candidate[row.key], row.key)

    def _document_vectors(self, number: int, rows: Sequence[Row]) -> Mapping[str, Vector]:
        """Key -> vector: from the source, or embedded now."""
        encoder = self.subject.plans[number].encoder
        contents = {row.key: row.contents[number] for row in rows}
        ready = {key: content for key, content in contents.items() if isinstance(content, np.ndarray)}
        texts = {key: content for key, content in contents.items() if isinstance(content, str)}
        if encoder is None or not texts:
            return ready
        self._require_wanted()
        encoded = encoder().encode_documents(list(texts.values()))
        made = {key: encoded.vectors[n] for n, key in enumerate(texts) if n not in encoded.refused}
        return ready | made

    def _queries(self) -> Iterator[_Question]:
        if not self.queries:
            return
        live, candidate = (self._query_encoder(number) for number in self._numbers)
        for text in self.queries:
            self._require_wanted()
            yield _Question(live.encode_query(text), candidate.encode_query(text), None)

    def _query_encoder(self, number: int) -> Encoder:
        return self.models.encoder(self.subject.plans[number].config.model or "")

    def _answers(self, questions: Sequence[_Question]) -> Iterator[Answers]:
        began = self.around.monotonic()
        for count, question in enumerate(questions, 1):
            yield self._answer(question)
            self.around.progress(self._progress(count, len(questions), self.around.monotonic() - began))

    def _answer(self, question: _Question) -> Answers:
        """Three searches: two exact ones through the whole label, one by the candidate's index."""
        live, candidate = self._indexes
        return Answers(
            _ranking(self._search(live, question.live, question.others)),
            _ranking(self._search(candidate, question.candidate, question.others)),
            tuple(hit.record_id for hit in self._near(candidate, question)),
        )

    def _near(self, index: Index, question: _Question) -> list[Stored]:
        """What the index finds; it cannot leave out the row itself, so that one more is asked for."""
        more = 0 if question.row is None else 1
        found = self._search(index, question.candidate, None, NEIGHBOURS + more)
        return [hit for hit in found if question.row is None or hit.key != question.row][:NEIGHBOURS]

    def _search(self, index: Index, vector: Vector, where: Where | None, limit: int = NEIGHBOURS) -> list[Stored]:
        self._require_wanted()
        ends = self.subject.ends
        return ends.patience.retry(partial(ends.wire.search, index, vector, where=where, limit=limit))

    def _require_wanted(self) -> None:
        if self.around.stop.is_set():
            raise Interrupted

    def _progress(self, count: int, total: int, seconds: float) -> Progress:
        pair = self.pair
        label = f"{pair}, {pair.candidate.making.name} against {pair.live.making.name}"
        return Progress(label, label, count, total, 0, count / max(seconds, 1e-9), "reading the target", 1.0)


@dataclass(frozen=True, slots=True)
class _Question:
    """One question as both models put it. row: the key of the row that it is, which is no answer to itself."""

    live: Vector
    candidate: Vector
    row: str | None

    @property
    def others(self) -> Where:
        """What makes a search exact."""
        return EVERY_RECORD if self.row is None else {"byovKey": {"$ne": self.row}}


def _ranking(found: Sequence[Stored]) -> list[tuple[str, float]]:
    return [(hit.record_id, hit.score or 0.0) for hit in found]
