"""One table made ready to be moved: its shape, models, label and indexes, checked before the first write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from byov_migrate.config import Config, EmbeddingConfig, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.errors import ConfigurationError, Refused
from byov_migrate.jobs.documents import Composer
from byov_migrate.jobs.embedding import EmbeddingPlan
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.source import LinkShape, TableReader
from byov_migrate.state import State
from byov_migrate.state.scope import table_fields
from byov_migrate.target import provision
from byov_migrate.target.delivery import Delivery, Destination, WriteMode
from byov_migrate.target.retry import Patience
from byov_migrate.target.wire import Index, Server, Wire

if TYPE_CHECKING:
    from byov_migrate.embed import Encoder, ModelIdentity

Accepted: TypeAlias = Literal["source", "target", "index"]
"""What a person says is meant: the database or the project is at another place, or an index was deleted."""
HASH_KEY_CHECK = "byov-scope"


class Models:
    """The encoders of a configuration, each loaded once and only when something is to be embedded."""

    def __init__(self, config: Config, log: Callable[..., None]) -> None:
        self._config = config
        self._log = log
        self._loaded: dict[str, Encoder] = {}

    def identity(self, name: str) -> ModelIdentity:
        """What the model's files say, without loading it. Raise ConfigurationError for a directory that is refused."""
        from byov_migrate.embed import identify

        return identify(self._config.models[name])

    def encoder(self, name: str) -> Encoder:
        """The model of this name. Raise ConfigurationError or PersonNeeded when it cannot be used."""
        if name not in self._loaded:
            from byov_migrate.embed import load_encoder

            model = load_encoder(self._config.models[name])
            facts = {"dimension": model.dimension, "reads_tokens": model.window, "fingerprint": model.fingerprint[:12]}
            self._log("model", name=name, **facts, device=model.device, dtype=model.dtype)
            self._loaded[name] = model
        return self._loaded[name]


@dataclass(frozen=True)
class TableWork:
    """Everything the pipeline needs of one table."""

    table: TableConfig
    reader: TableReader
    plans: tuple[EmbeddingPlan, ...]
    composer: Composer
    destination: Destination

    @property
    def properties(self) -> tuple[str, ...]:
        """The properties that carry vectors, in the order of the embeddings."""
        return tuple(plan.config.carrier for plan in self.plans)

    @property
    def embeds(self) -> bool:
        """Whether a model has work here."""
        return any(plan.encoder is not None for plan in self.plans)


def embedding_plans(
    table: TableConfig, reader: TableReader, models: Models, digests: Digests, *, lazily: bool = False
) -> tuple[EmbeddingPlan, ...]:
    """Load the models and find the dimensions; `lazily`: a model is loaded when there is something to embed."""
    found = list(zip(table.embeddings, reader.dimensions, strict=True))
    plans = tuple(_embedding_plan(table, item, dimension, models, digests) for item, dimension in found)
    for plan in plans:
        if plan.encoder is not None and not lazily:
            plan.encoder()
    return plans


def _embedding_plan(
    table: TableConfig, item: EmbeddingConfig, dimension: int | None, models: Models, digests: Digests
) -> EmbeddingPlan:
    if item.vector is not None:
        if dimension is None:
            raise ConfigurationError(f"{table.name}.{item.vector} holds no vector, so their dimension is unknown")
        return EmbeddingPlan(item, dimension, digests.probes(dimension), None, None)
    model = models.identity(item.model or "")
    encoder = partial(models.encoder, item.model or "")
    return EmbeddingPlan(item, model.dimension, digests.probes(model.dimension), encoder, model.fingerprint)


def place_fields(system: str, database: str, digests: Digests, project: str | None) -> dict[str, str]:
    """The scope of the two ends; `project` None while the target has no index that names it."""
    fields = {
        "source.system": system,
        "source.database": database,
        "hash_key": digests.key_hash(HASH_KEY_CHECK),
    }
    return {**fields, "target.project": project} if project else fields


def settle_scope(
    state: State,
    table: TableConfig,
    reader: TableReader,
    plans: tuple[EmbeddingPlan, ...],
    places: Mapping[str, str],
    links: Sequence[LinkShape],
) -> dict[str, object]:
    """Require that the state belongs to these settings and ends; return the fields to store once the label is ours."""
    fields = scope_of(table, reader, plans, places, links)
    state.scope.require(fields)
    return fields


def scope_of(
    table: TableConfig,
    reader: TableReader,
    plans: tuple[EmbeddingPlan, ...],
    places: Mapping[str, str],
    links: Sequence[LinkShape],
) -> dict[str, object]:
    """What a state that belongs to these settings and ends has stored."""
    fingerprints = {plan.config.carrier: plan.fingerprint for plan in plans if plan.fingerprint is not None}
    key = [column.name for column in reader.shape.key]
    here = [link.config for link in links if link.source.entry.label == table.label]
    return {**places, **table_fields(table, key, fingerprints, reader.shape.signatures, here)}


def claim(wire: Wire, patience: Patience, state: State, table: TableConfig, source: str) -> None:
    """Write under this label from now on. Raise Refused where another state does."""
    marker = provision.Marker(table.label, state.runs.state_id, source, state.runs.generation)
    provision.claim_label(wire, patience, marker, records_known=state.ledger.count_records(table.name))


def make_indexes(
    wire: Wire, patience: Patience, state: State, table: TableConfig, plans: Sequence[EmbeddingPlan]
) -> tuple[Index, ...]:
    """Make the indexes of a claimed label that are not there yet.

    Raise Refused for one that is gone: it would be empty, and so would be every search, while each sync says that all
    is well.
    """
    require_filled_indexes(wire, patience, state, table, plans)
    dimensions = {plan.config.carrier: plan.dimension for plan in plans}
    return provision.ensure_indexes(wire, patience, table.label, dimensions)


def require_filled_indexes(
    wire: Wire, patience: Patience, state: State, table: TableConfig, plans: Sequence[EmbeddingPlan]
) -> None:
    """Raise Refused when an index is gone that held vectors by what the state knows."""
    for embedding, vectors in gone_indexes(wire, patience, state, table, plans):
        raise index_gone(table.label, embedding, vectors)


def gone_indexes(
    wire: Wire, patience: Patience, state: State, table: TableConfig, plans: Sequence[EmbeddingPlan]
) -> Iterator[tuple[EmbeddingConfig, int]]:
    """Embeddings whose index is gone, and how many vectors it held by what the state knows."""
    here = {index.property_name for index in patience.retry(wire.indexes) if index.label == table.label}
    for embedding in (plan.config for plan in plans if plan.config.carrier not in here):
        if vectors := state.ledger.count_vectors(table.name, embedding.carrier):
            yield embedding, vectors


def index_gone(label: str, embedding: EmbeddingConfig, vectors: int) -> Refused:
    """What to say of it, and what mends it. vectors: how many it held."""
    what = f"the index on {label}.{embedding.carrier} is gone from RushDB, and with it {vectors:,} vectors"
    fill, give_up = "sync --full --accept index", f"reembed drop --yes {embedding.carrier}"
    return Refused(what, next_step=f"byov-migrate {fill if embedding.role.live else give_up}")


def write_mode(config: Config, server: Server) -> WriteMode:
    """Inline vectors cost the platform a count of the whole label each; Cloud's official clients write them inline."""
    if config.target.write != "auto":
        return config.target.write
    return "inline" if server.kind == "cloud" else "two-call"


def delivery_for(
    config: Config, wire: Wire, server: Server, work: TableWork, patience: Patience, surroundings: Surroundings
) -> Delivery:
    """The delivery of one table, said in the log with the way of writing that was chosen."""
    budget_s = provision.request_budget_s(config.target, server)
    mode = work.destination.mode
    surroundings.log("write-mode", label=work.table.label, mode=mode, server=server.kind, request_budget_s=budget_s)
    return Delivery(wire, work.destination, patience, request_budget_s=budget_s, writers=config.target.writers)
