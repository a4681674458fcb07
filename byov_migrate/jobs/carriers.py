"""The configuration as the state lets it stand: an embedding may have its vectors under another property, or two kinds.

Every job that writes or searches works with the configuration that comes from here. What the file says of an embedding
must be what one of its carriers holds; the other one is kept current by what the state remembers of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from byov_migrate.config import Config, EmbeddingConfig, ModelConfig, TableConfig
from byov_migrate.config_values import CarrierRole
from byov_migrate.errors import MigrationError, Refused
from byov_migrate.state.carriers import Carrier, Carriers, Making
from byov_migrate.state.looking import looked_at
from byov_migrate.templates import parse_template

_MAKING_SETTINGS = ("path", "document_prompt", "max_tokens", "normalize", "long_text")
"""Of a model in the file: those that decide its vectors."""


class CarriedEmbedding(EmbeddingConfig):
    """An embedding as the state knows it: its vectors under a property that the configuration does not name."""

    on: str
    plays: CarrierRole

    @property
    def carrier(self) -> str:
        """As stored."""
        return self.on

    @property
    def role(self) -> CarrierRole:
        """As stored."""
        return self.plays


def as_carried(config: Config, carriers: Carriers) -> Config:
    """The configuration with an embedding for each carrier. Itself where every embedding has its own property alone.

    One that comes from here stays as it is. Raise Refused when an embedding is neither of two that are stored, or when
    the files of a model are gone that keeps one of them current.
    """
    return _carried_config(config, carriers, _for_writing)


def as_searched(config: Config, carriers: Carriers) -> Config:
    """As `as_carried`, for those who only look: the state alone says what there is, and no model's files are read."""
    return _carried_config(config, carriers, _for_reading)


def as_stored(config: Config, clock: Callable[[], float]) -> Config:
    """As `as_searched`, by the state beside the configuration, which is only looked at; without one the file counts."""
    if not config.state_path.exists():
        return config
    with looked_at(config.state_path, clock) as state:
        return as_searched(config, state.carriers)


def as_stored_or_given(config: Config, clock: Callable[[], float]) -> Config:
    """As `as_stored` for those who tell of a state that cannot be read in their own way."""
    try:
        return as_stored(config, clock)
    except MigrationError:
        return config


def making_of(config: Config, embedding: EmbeddingConfig) -> Making:
    """How an embedding's vectors are made, as configured. Raise ConfigurationError for a directory that is refused."""
    model = config.models[embedding.model] if embedding.model else None
    return making(embedding, model, None if embedding.vector or model is None else fingerprint_of(model))


def making(embedding: EmbeddingConfig, model: ModelConfig | None, fingerprint: str | None) -> Making:
    """As `making_of`, with a fingerprint that is known already."""
    text = embedding.text.source if embedding.text and not embedding.vector else None
    settings = model.model_dump(mode="json") if model else None
    return Making(embedding.model, settings, text, embedding.vector, fingerprint)


def fingerprint_of(model: ModelConfig) -> str:
    """Of the model's files, which are read for it. Raise ConfigurationError for a directory that is refused."""
    from byov_migrate.embed import identify

    return identify(model).fingerprint


@dataclass
class _Resolving:
    """Finds the model of a carrier: in the file, whatever it is called there now, or among what the state remembers."""

    config: Config

    def __post_init__(self) -> None:
        self.added: dict[str, ModelConfig] = {}
        self._fingerprints: dict[str, str] = {}

    def fingerprint(self, name: str) -> str:
        """Of a model in the file, read once."""
        if name not in self._fingerprints:
            self._fingerprints[name] = fingerprint_of(self.config.models[name])
        return self._fingerprints[name]

    def model_name(self, carrier: Carrier, *, checked: bool) -> str | None:
        """A name in the configuration that results. checked: raise Refused when the files are not what they were."""
        made = carrier.making
        if made.model is None or made.settings is None:
            return None
        found = self._configured(made, checked=checked)
        if found is None:
            found = f"{made.model} of {carrier.property_name}"
            self.added[found] = remembered_model(carrier, checked=checked)
        return found

    def _configured(self, made: Making, *, checked: bool) -> str | None:
        """What the file calls this model, wherever it lies there now."""
        alike = [name for name, model in self.config.models.items() if _is_described(model, made.settings or {})]
        if alike and (not checked or made.vector is not None):
            return made.model if made.model in alike else alike[0]
        return next((name for name in self.config.models if self._is(name, made)), None)

    def _is(self, name: str, made: Making) -> bool:
        try:
            return self.fingerprint(name) == made.fingerprint
        except MigrationError:
            return False


def _is_described(model: ModelConfig, settings: Mapping[str, Any]) -> bool:
    now = model.model_dump(mode="json")
    return all(now[name] == settings.get(name) for name in _MAKING_SETTINGS)


def remembered_model(carrier: Carrier, *, checked: bool = True) -> ModelConfig:
    """The model that makes a carrier's vectors. checked: raise Refused when its files are not what they were."""
    made = carrier.making
    settings = dict(made.settings or {})
    model = ModelConfig.model_construct(None, **{**settings, "path": Path(settings["path"])})
    if checked and made.vector is None and _fingerprint_or_none(model) != made.fingerprint:
        raise Refused(
            f"the vectors under {carrier.property_name} are made by {made.name} in {model.path.name}, and the files"
            " there are not those any more, so that nobody can keep these vectors current",
            next_step=f"put the old files back into {model.path.name}, and the new ones into a folder of their own",
        )
    return model


def _fingerprint_or_none(model: ModelConfig) -> str | None:
    try:
        return fingerprint_of(model)
    except MigrationError:
        return None


def _carried_config(config: Config, carriers: Carriers, resolve: _Resolve) -> Config:
    if any(isinstance(item, CarriedEmbedding) for table in config.tables for item in table.embeddings):
        return config
    found = _Resolving(config)
    tables = tuple(_with_carriers(found, table, carriers, resolve) for table in config.tables)
    if tables == config.tables:
        return config
    return config.model_copy(update={"tables": tables, "models": {**config.models, **found.added}})


def _with_carriers(found: _Resolving, table: TableConfig, carriers: Carriers, resolve: _Resolve) -> TableConfig:
    embeddings: list[EmbeddingConfig] = []
    for item in table.embeddings:
        stored = carriers.of(table.name, item.property_name)
        embeddings += [item] if _is_plain(item, stored) else resolve(found, table, item, stored)
    return (
        table if tuple(embeddings) == table.embeddings else table.model_copy(update={"embeddings": tuple(embeddings)})
    )


def _is_plain(item: EmbeddingConfig, stored: list[Carrier]) -> bool:
    """Whether the vectors stand where the file says, and the records speak of them."""
    return not stored or (len(stored) == 1 and stored[0].property_name == item.property_name and stored[0].marked)


def _for_reading(
    found: _Resolving, _table: TableConfig, item: EmbeddingConfig, carriers: list[Carrier]
) -> list[EmbeddingConfig]:
    embeddings: list[EmbeddingConfig] = []
    for one in carriers:
        same = one.making.vector is not None and one.making.vector == item.vector  # the model is for queries alone
        name = item.model if same else found.model_name(one, checked=False)
        embeddings.append(embedding_of(item, one, name, is_configured=same))
    return embeddings


def _for_writing(
    found: _Resolving, table: TableConfig, item: EmbeddingConfig, carriers: list[Carrier]
) -> list[EmbeddingConfig]:
    if not item.spare:
        place = f"the vectors of {table.label}.{item.property_name} need the property {item.spare_property}"
        raise Refused(f"{place}; spare = false would remove it", next_step="put spare = true back")
    if len(carriers) == 1:
        return [embedding_of(item, carriers[0], item.model, is_configured=True)]  # the scope compares the two
    configured = _require_one(found, table, item, carriers)
    embeddings: list[EmbeddingConfig] = []
    for one in carriers:
        same = one.making.makes_the_same_as(configured)
        name = item.model if same else found.model_name(one, checked=True)
        embeddings.append(embedding_of(item, one, name, is_configured=same))
    return embeddings


def _require_one(found: _Resolving, table: TableConfig, item: EmbeddingConfig, carriers: list[Carrier]) -> Making:
    """What the file says. Raise Refused when none of the carriers is made like that."""
    model = found.config.models[item.model] if item.model else None
    configured = making(item, model, None if item.vector or model is None else found.fingerprint(item.model or ""))
    if not any(carrier.making.makes_the_same_as(configured) for carrier in carriers):
        held = " and ".join(f"{carrier.property_name} (by {carrier.making.name})" for carrier in carriers)
        raise Refused(
            f"the settings of {table.label}.{item.property_name} make other vectors than those under {held}; nothing"
            " was written",
            next_step="put the settings of one of them back, its model, text and prompts",
        )
    return configured


def embedding_of(
    item: EmbeddingConfig, carrier: Carrier, model: str | None, *, is_configured: bool
) -> CarriedEmbedding:
    """An embedding as a carrier holds it. model: its name in the configuration. is_configured: the file says so too."""
    own = {name: getattr(item, name) for name in EmbeddingConfig.model_fields}
    made = carrier.making
    if not is_configured:
        text = parse_template(made.text) if made.text is not None else item.text  # of ready vectors: only shown
        own |= {"text": text, "vector": made.vector}
    own |= {"model": model}
    role = CarrierRole(carrier.live, carrier.complete, carrier.marked, remembered=not is_configured)
    return CarriedEmbedding.model_construct(None, **own, on=carrier.property_name, plays=role)


_Resolve: TypeAlias = Callable[[_Resolving, TableConfig, EmbeddingConfig, list[Carrier]], list[EmbeddingConfig]]
