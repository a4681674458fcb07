"""One search: embed, ask, show; or print what an application would send, and send nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypedDict, Unpack

import numpy as np

from byov_migrate.config import Config
from byov_migrate.digests import Digests
from byov_migrate.errors import ConfigurationError, Refused
from byov_migrate.filters import Filter
from byov_migrate.jobs.carriers import as_stored
from byov_migrate.jobs.reading import Reading, reading
from byov_migrate.jobs.search.calls import LANGUAGES, ApplicationCall, Language, application_call
from byov_migrate.jobs.search.choosing import Searched, choose, query_model, require_dimension
from byov_migrate.jobs.search.names import conditions
from byov_migrate.jobs.search.results import Explanation, Hit, SearchResult, Seconds
from byov_migrate.jobs.search.vectors import Query, row_query, text_query
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.source.showing import Columns, open_columns
from byov_migrate.target.drawing import Paper
from byov_migrate.target.where import EVERY_RECORD, all_of
from byov_migrate.target.wire import Index, Stored


class Options(TypedDict, total=False):
    """What narrows a search down. Each may be left out."""

    like: str | None
    """The key of a row instead of a text; the row itself is left out of the hits."""
    where: Sequence[Filter]
    limit: int
    """How many hits; 10."""
    skip: int
    """How many of the best to leave out; 0."""
    exact: bool
    """Compare every record, also without `where` or `like`."""
    table: str | None
    """Name or label; by default the first with an embedding."""
    embedding: str | None
    """The embedding's property; by default the table's first."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A search before there is a vector. `limit` hits after the best `skip`."""

    searched: Searched
    text: str | None
    like: str | None
    where: Mapping[str, Any]
    limit: int
    skip: int
    exact: bool
    crosses_links: bool

    def conditions(self, query: Query) -> dict[str, Any]:
        """The `where` to send: a row that others are to be like is left out by the server, which makes it exact."""
        others = {"byovKey": {"$ne": query.row}}
        parts = [part for part in (self.where, others if query.row is not None else {}) if part]
        return all_of(parts) or (dict(EVERY_RECORD) if self.exact else {})

    @property
    def why_exact(self) -> str:
        """What makes every record be compared."""
        return "--where" if self.where else "--like" if self.like is not None else "--exact"


@dataclass(frozen=True, slots=True)
class _Answer:
    found: list[Stored]
    exact: bool
    reason: str
    seconds: float


def search(
    config: Config,
    text: str | None = None,
    *,
    show: Sequence[str] = (),
    explain: bool = False,
    surroundings: Surroundings | None = None,
    **options: Unpack[Options],
) -> SearchResult:
    """The records nearest to a text, or to a row; see `Options`.

    show: columns of PostgreSQL to show beside each hit. The query vector and the values of `where` leave; the text and
    what is shown do not. Raise ConfigurationError when there is nothing to ask with or a name is not known, Refused
    when the model on disk is not the one whose vectors are stored.
    """
    around = surroundings or Surroundings()
    config = as_stored(config, around.clock)
    asked = _asked(config, text, options)
    searched = asked.searched
    with reading(config, around) as ends:
        columns = _columns(ends, searched, show)
        query = _query(ends, asked, around)
        index = _index_of(ends, searched, len(query.vector))
        answer = _ask(ends, index, query, asked, around)
        began = around.monotonic()
        hits = _hits(ends, searched, answer.found, columns)
        read_s = around.monotonic() - began + query.reading_s
        seconds = Seconds(query.loading_s, query.embedding_s, answer.seconds, read_s)
        told = _explanation(ends, index, asked, query, answer, seconds) if explain else None
    names = (searched.table.label, searched.embedding.carrier)
    return SearchResult(*names, hits, answer.exact, answer.seconds, told)


def print_call(
    config: Config,
    language: Language,
    text: str | None = None,
    *,
    surroundings: Surroundings | None = None,
    **options: Unpack[Options],
) -> ApplicationCall:
    """The same search as code for an application, the query vector in full. RushDB is not asked, nothing is sent.

    Raise as `search`, and ConfigurationError for another language.
    """
    if language not in LANGUAGES:
        raise ConfigurationError(f"--print-request {language}: there are: {', '.join(LANGUAGES)}")
    around = surroundings or Surroundings()
    config = as_stored(config, around.clock)
    asked = _asked(config, text, options)
    searched, paper = asked.searched, Paper()
    with reading(config, around, paper.wire()) as ends:
        query = _query(ends, asked, around)
        dimension = len(query.vector)
        require_dimension(searched, ends.reader(searched.table).dimensions[searched.number], dimension)
        names = (searched.table.label, searched.embedding.carrier)
        index = Index("", *names, dimension, searched.embedding.similarity, "")
        _nearest(ends, index, query, asked, asked.conditions(query))
    return application_call(language, config.target, paper.drawn[-1])


def _asked(config: Config, text: str | None, options: Options) -> _Asked:
    """Everything that can be wrong before anything is opened or sent."""
    like = options.get("like")
    if (text is None) == (like is None):
        raise ConfigurationError("search needs either TEXT or --like KEY")
    searched = choose(config, options.get("table"), options.get("embedding"))
    if like is None or searched.embedding.vector is None:
        query_model(config, searched)
    where = conditions(config, searched.table, options.get("where", ()))
    page = (options.get("limit", 10), options.get("skip", 0))
    crosses = any("." in item.name for item in options.get("where", ()))
    return _Asked(searched, text, like, where, *page, options.get("exact", False), crosses)


def _query(ends: Reading, asked: _Asked, around: Surroundings) -> Query:
    if asked.like is not None:
        return row_query(ends, asked.searched, asked.like, around.monotonic)
    return text_query(ends, asked.searched, asked.text or "", around.monotonic)


def _columns(ends: Reading, searched: Searched, show: Sequence[str]) -> Columns | None:
    names = list(dict.fromkeys(show))
    return open_columns(ends.reader(searched.table), names, ends.digests) if names else None


def _index_of(ends: Reading, searched: Searched, dimension: int) -> Index:
    """The index that holds the vectors; a property may have others, of other sizes."""
    place = (searched.table.label, searched.embedding.carrier)
    here = [one for one in ends.patience.retry(ends.wire.indexes) if (one.label, one.property_name) == place]
    if not here:
        raise Refused(f"RushDB has no vector index on {searched}", next_step="byov-migrate backfill")
    for index in here:
        if index.dimension == dimension:
            return index
    require_dimension(searched, here[0].dimension, dimension)
    return here[0]


def _ask(ends: Reading, index: Index, query: Query, asked: _Asked, around: Surroundings) -> _Answer:
    """Ask the index first, and every record when it gives too few: it is shared by all labels of one size."""
    began = around.monotonic()
    where = asked.conditions(query)
    reason = asked.why_exact
    if not where:
        found = _nearest(ends, index, query, asked, None)
        if len(found) == asked.limit:
            return _Answer(found, exact=False, reason="no filter", seconds=around.monotonic() - began)
        reason = f"the index gave {len(found)} of {asked.limit}"
    found = _nearest(ends, index, query, asked, where or EVERY_RECORD)
    return _Answer(found, exact=True, reason=reason, seconds=around.monotonic() - began)


def _nearest(ends: Reading, index: Index, query: Query, asked: _Asked, where: Mapping[str, Any] | None) -> list[Stored]:
    if not asked.crosses_links:
        page = {"limit": asked.limit, "skip": asked.skip}
        return ends.patience.retry(lambda: ends.wire.search(index, query.vector, where=where or None, **page))
    # Across a link a record comes once for each linked record that fits, and the limit is one of these.
    wanted, asked_for, found = asked.skip + asked.limit, 0, dict[str, Stored]()
    while len(found) < wanted:
        page = {"limit": wanted, "skip": asked_for}
        some = ends.patience.retry(partial(ends.wire.search, index, query.vector, where=where or None, **page))
        found |= {record.record_id: record for record in some if record.record_id not in found}
        asked_for += wanted
        if len(some) < wanted:
            break
    return list(found.values())[asked.skip : wanted]


def _hits(ends: Reading, searched: Searched, found: Sequence[Stored], columns: Columns | None) -> tuple[Hit, ...]:
    keys = [record.key for record in found]
    texts = ends.local_texts(searched.table, searched.embedding, keys)
    shown = columns.read(keys) if columns else {}
    return tuple(
        Hit(record.score or 0.0, record.key, record.properties, texts.get(record.key), shown.get(record.key, {}))
        for record in found
    )


def _explanation(
    ends: Reading, index: Index, asked: _Asked, query: Query, answer: _Answer, seconds: Seconds
) -> Explanation:
    """Asks once more: how many there were to choose from."""
    if answer.exact:
        has_text = {f"byovText_{asked.searched.embedding.property_name}": {"$exists": True}}
        comparable = all_of([part for part in (asked.conditions(query), has_text) if part])
        _, candidates = ends.patience.retry(lambda: ends.wire.find(index.label, comparable, limit=1))
    else:
        candidates = ends.patience.retry(lambda: ends.wire.count_vectors(index))
    return Explanation("exact" if answer.exact else "index", answer.reason, candidates, index.dimension, seconds)


def has_vector(ends: Reading, index: Index, key: str, digests: Digests) -> bool:
    """Whether the record of a key carries a vector in an index."""
    probe = np.ascontiguousarray(digests.probes(index.dimension)[0])
    return bool(ends.patience.retry(lambda: ends.wire.search(index, probe, where={"byovKey": key}, limit=1)))
