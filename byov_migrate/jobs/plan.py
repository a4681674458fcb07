"""What would happen, what would leave, and how long it would take. Reads both ends and the state; writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from byov_migrate import source
from byov_migrate.config import Config, Entry, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.errors import ConfigurationError
from byov_migrate.jobs.carriers import as_stored_or_given
from byov_migrate.jobs.documents import VECTOR_NOTICE, Composer, Leaving, leaving, plan_digest, staying
from byov_migrate.jobs.planning import pace, volumes
from byov_migrate.jobs.planning.arithmetic import Estimate, share_of, total
from byov_migrate.jobs.planning.looking import StateLook, TargetLook, look_at_state, look_at_target
from byov_migrate.jobs.planning.masking import Masked, mask
from byov_migrate.jobs.planning.overlap import Overlap, find_overlaps
from byov_migrate.jobs.planning.relations import LinkedRecords, LinkPlan, carried_links, plan_links
from byov_migrate.jobs.planning.sampling import Sample, draw_sample
from byov_migrate.jobs.planning.texts import EmbeddingForecast, forecast_texts, ready_vectors
from byov_migrate.jobs.planning.usage import Usage, usage
from byov_migrate.jobs.ranges import page_rows_for
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.table_work import Models
from byov_migrate.source import TableReader

_NO_KEY = Digests(b"")
"""The reader needs keyed hashes to name rows; a plan names none, and must not make a key file."""
PROVED_ROWS = 200_000
"""A label of this size was filled on a real platform; beyond it server times are extrapolated."""
EXACT_SEARCH_S, GROUPED_COUNT_S, SERVER_LIMIT_S = 4.9, 0.65, 55.0
"""At 200,000 rows, growing with the label; and what a server allows a request."""


@dataclass(frozen=True, slots=True)
class ExpectedReject:
    """Rows that would be refused for one reason. `share`: of the table. `setting`: the line that mends it."""

    column: str | None
    code: str
    share: Estimate
    setting: str | None


@dataclass(frozen=True, slots=True)
class TablePlan:
    """One table.

    rows: that match, counted. stored: of them, by an earlier run. sampled: rows that were looked at; estimates come
    from them. example: one record as it would leave, masked; None without rows. bytes_out, requests, timing: of what
    is not stored yet, or has to be embedded again. is_node: the rows are the values of a column.
    """

    table: str
    label: str
    rows: int
    stored: int
    sampled: int
    leaving: tuple[Leaving, ...]
    vectors: tuple[str, ...]
    staying: tuple[str, ...]
    example: Mapping[str, Masked] | None
    embeddings: tuple[EmbeddingForecast, ...]
    overlaps: tuple[Overlap, ...]
    rejects: tuple[ExpectedReject, ...]
    bytes_out: int
    requests: int
    state_bytes: int
    timing: pace.Timing
    warnings: tuple[str, ...] = ()
    is_node: bool = False


@dataclass(frozen=True, slots=True)
class PlanResult:
    """The plan of every table, node and link, what the ends said, and the digest of what leaves and what stays.

    seconds: of a backfill of what is not stored or linked yet, loading the models included. usage: on Cloud only.
    """

    tables: tuple[TablePlan, ...]
    digest: str
    seconds: Estimate
    target: TargetLook
    state: StateLook
    links: tuple[LinkPlan, ...] = ()
    usage: Usage | None = None
    notice: str = field(default=VECTOR_NOTICE)

    @property
    def refused(self) -> tuple[tuple[TablePlan, Overlap], ...]:
        """Sent columns that repeat what is withheld, and that nobody has allowed to."""
        return tuple((table, item) for table in self.tables for item in table.overlaps if item.is_refused)

    @property
    def exit_code(self) -> int:
        """2 when a sent column repeats withheld text."""
        return ConfigurationError.exit_code if self.refused else 0


def plan(config: Config, *, exact: bool = False, surroundings: Surroundings | None = None) -> PlanResult:
    """Count, sample and time; list what leaves, from the code that builds the bodies.

    exact: count the tokens of every row instead of a sample's. Raise what reading the source or loading a model
    raises; a target that does not answer and a state that cannot be read are told in the result.
    """
    around, given = surroundings or Surroundings(), config
    config = as_stored_or_given(config, around.clock)
    models = Models(config, around.log)
    with source.connect(config.source, around.environment) as session:
        links = source.describe_links(session, config)
        readers = [source.open_table(session, entry, _NO_KEY, links=links) for entry in config.entries]
        target = look_at_target(config, around)
        state = look_at_state(config, around, session, readers, links, models, target.project)
        planner = _Planner(config, around, models, target, state, exact=exact)
        began = around.monotonic()
        _load(config, models)
        loading_s = around.monotonic() - began
        tables, carried, ends = planner.tables(readers)
        planned = plan_links(links, carried, ends, session, _NO_KEY, config.target.batch_rows, target, state.links)
        return _result(config, plan_digest(given), tables, planned, target, state, loading_s)


def _load(config: Config, models: Models) -> None:
    """All models at once, timed: a backfill loads them too."""
    for name in dict.fromkeys(item.model for table in config.tables for item in table.embeddings if not item.vector):
        models.encoder(name or "")


def _result(
    config: Config,
    digest: str,
    tables: tuple[TablePlan, ...],
    links: tuple[LinkPlan, ...],
    target: TargetLook,
    state: StateLook,
    loading_s: float,
) -> PlanResult:
    moving = [table.timing.seconds for table in tables] + [link.seconds for link in links]
    seconds = total([pace.starting(loading_s), *moving])
    vectors = sum(item.texts.value for table in tables for item in table.embeddings)
    is_cloud = target.kind == "cloud" or (target.kind is None and config.target.is_cloud)
    rows = [table.rows for table in tables]
    first = len(config.tables)
    counted = usage(rows[:first], rows[first:], (link.links.value for link in links), vectors) if is_cloud else None
    return PlanResult(tables, digest, seconds, target, state, links, counted)


@dataclass(frozen=True)
class _Planner:
    """Plans one table after the other; a column whose values are nodes is one too."""

    config: Config
    around: Surroundings
    models: Models
    target: TargetLook
    state: StateLook
    exact: bool

    def tables(
        self, readers: Sequence[TableReader]
    ) -> tuple[tuple[TablePlan, ...], dict[str, Estimate], dict[str, LinkedRecords]]:
        """Every entry, one after the other; how many links rows carry, by the links' names; what links lead between."""
        tables: list[TablePlan] = []
        carried: dict[str, Estimate] = {}
        ends: dict[str, LinkedRecords] = {}
        for entry, reader in zip(self.config.entries, readers, strict=True):
            kept = staying(entry)
            withheld = tuple(column for column in kept if (column, "text") in reader.rows_reader.fields)
            rows = reader.count()
            sample = draw_sample(reader, rows, withheld)
            self.around.log("sampled", table=entry.name, rows=sample.size, of=rows)
            table = self._table(entry, reader, rows, sample, withheld)
            tables.append(table)
            carried |= carried_links(reader.links, sample)
            ends[entry.label] = LinkedRecords(rows, table.stored >= rows, _key_bytes(sample))
        return tuple(tables), carried, ends

    def _table(
        self, table: Entry, reader: TableReader, rows: int, sample: Sample, withheld: tuple[str, ...]
    ) -> TablePlan:
        forecasts = self._embeddings(table, reader, sample)
        sizes, example = self._bodies(table, reader, sample, forecasts)
        stored = min(self.state.stored.get(table.name, 0), rows)
        left = rows if self.state.embeds_again(table.name) else rows - stored
        flow = _flow(self.config, table, self.target, left, rows, forecasts)
        vectors = sum(item.texts.value for item in forecasts)
        return TablePlan(
            table=table.name,
            label=table.label,
            rows=rows,
            stored=stored,
            sampled=sample.size,
            leaving=tuple(leaving(table, reader.links)),
            vectors=tuple(_vector_line(table, number) for number in range(len(table.embeddings))),
            staying=tuple(staying(table)),
            example=example,
            embeddings=forecasts,
            overlaps=find_overlaps(table, sample.rows, withheld),
            rejects=_rejects(sample),
            bytes_out=round((sizes.record + sizes.vectors) * left),
            requests=flow.requests,
            state_bytes=volumes.state_bytes(
                rows, _key_bytes(sample), vectors, _dimensions(forecasts), keeps_vectors=self.config.state.vectors
            ),
            timing=flow.timing,
            warnings=tuple(_large(rows)),
            is_node=table.distinct is not None,
        )

    def _embeddings(self, table: TableConfig, reader: TableReader, sample: Sample) -> tuple[EmbeddingForecast, ...]:
        found = []
        for number, (item, dimension) in enumerate(zip(table.embeddings, reader.dimensions, strict=True)):
            if item.vector is not None:
                found.append(ready_vectors(item, number, dimension, sample))
            else:
                counted = reader if self.exact else None
                found.append(forecast_texts(self.config, item, number, sample, self.models, self.around, counted))
        return tuple(found)

    def _bodies(
        self, table: TableConfig, reader: TableReader, sample: Sample, forecasts: Sequence[EmbeddingForecast]
    ) -> tuple[volumes.RowBytes, Mapping[str, Masked] | None]:
        """Sizes of real bodies, and one of them masked: the one that has the most to show."""
        fingerprints = tuple("0" * 64 if item.model else None for item in forecasts)
        composer = Composer(table, _NO_KEY, "", fingerprints, reader.links)
        documents = [composer.document(row.row) for row in sample.rows]
        sizes = volumes.row_bytes(documents, [item.vector_bytes for item in forecasts])
        if not documents:
            return sizes, None
        richest = max(documents[: volumes.MEASURED_ROWS], key=lambda item: len(item.properties))
        return sizes, mask({**richest.properties, "byovBatch": volumes.BATCH_NAME})


@dataclass(frozen=True, slots=True)
class _Flow:
    requests: int
    timing: pace.Timing


def _flow(
    config: Config,
    table: TableConfig,
    target: TargetLook,
    rows: int,
    population: int,
    forecasts: Sequence[EmbeddingForecast],
) -> _Flow:
    """How `rows` of a table's `population` move: batches, requests, seconds."""
    share = rows / population if population else 0.0
    embedding = total(item.seconds.times(share) for item in forecasts)
    page_rows = page_rows_for(embeds=bool(embedding.value))
    speed = rows / embedding.value if embedding.value else float("inf")
    batch = pace.rows_a_batch(speed, config.target.batch_rows, page_rows)
    count = partial(volumes.requests, rows, batch, len(table.embeddings), is_inline=target.mode == "inline")
    calls = count(checkpoints=0.0)
    writing = pace.writing_seconds(rows, target.kind, calls, target.round_trip_s)
    found = pace.timing(embedding, writing, rows, batch)
    return _Flow(count(checkpoints=found.seconds.value / pace.CHECKPOINT_EVERY_S), found)


def _rejects(sample: Sample) -> tuple[ExpectedReject, ...]:
    found = Counter((item.column, item.code, item.setting) for item in sample.rejected)
    return tuple(
        ExpectedReject(column, code, _part(count, sample), setting)
        for (column, code, setting), count in found.most_common()
    )


def _part(count: int, sample: Sample) -> Estimate:
    return share_of([True] * count + [False] * (sample.size - count), sample.population)


def _key_bytes(sample: Sample) -> float:
    keys = [len(row.row.key.encode()) for row in sample.rows]
    return sum(keys) / len(keys) if keys else 0.0


def _dimensions(forecasts: Sequence[EmbeddingForecast]) -> list[int]:
    return [item.dimension for item in forecasts if item.dimension]


def _large(rows: int) -> list[str]:
    if rows <= PROVED_ROWS:
        return []
    times = rows / PROVED_ROWS
    search_s, count_s = EXACT_SEARCH_S * times, GROUPED_COUNT_S * times
    limit = "more than" if search_s > SERVER_LIMIT_S else "of"
    warning = (
        f"a label of {PROVED_ROWS:,} rows was tried on a real platform; with {rows:,} an exact search would take about"
        f" {search_s:.0f} s and a grouped count {count_s:.1f} s, {limit} the {SERVER_LIMIT_S:.0f} s a server allows"
    )
    return [warning]


def _vector_line(table: TableConfig, number: int) -> str:
    item = table.embeddings[number]
    origin = (
        f"column {item.vector}"
        if item.vector
        else f"model {item.model} reading {item.text.source!r}"
        if item.text
        else ""
    )
    return f"{item.property_name}: {origin}"
