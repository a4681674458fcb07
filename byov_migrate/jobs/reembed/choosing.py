"""Which embeddings a command is about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from byov_migrate.config import Config, EmbeddingConfig, TableConfig
from byov_migrate.errors import ConfigurationError, Refused
from byov_migrate.jobs.carriers import making_of
from byov_migrate.state import State
from byov_migrate.state.carriers import Carrier, Making, live_one
from byov_migrate.state.scope import REEMBED, carrier_prefix


@dataclass(frozen=True, slots=True)
class Meant:
    """One embedding, as the file has it."""

    table: TableConfig
    embedding: EmbeddingConfig

    @property
    def names(self) -> tuple[str, str]:
        """As the state knows it: table and embedding."""
        return self.table.name, self.embedding.property_name

    def __str__(self) -> str:
        return f"{self.table.label}.{self.embedding.property_name}"


def meant(config: Config, table: str | None, embedding: str | None) -> list[Meant]:
    """The embeddings of these names, all by default. Raise ConfigurationError naming those that there are."""
    name = config.table(table).name if table is not None else None
    every = [Meant(entry, item) for entry in config.tables for item in entry.embeddings]
    found = [one for one in every if name in (None, one.table.name)]
    found = [one for one in found if embedding in (None, one.embedding.property_name)]
    if not found:
        known = ", ".join(map(str, every)) or "none"
        raise ConfigurationError(f"there is no such embedding in the configuration; there are: {known}")
    return found


def to_embed(
    config: Config, state: State, model: str | None, table: str | None, embedding: str | None
) -> list[tuple[Meant, Making]]:
    """What is to be embedded anew, and how: by the model that is named, or as the configuration has come to say.

    Raise ConfigurationError when a model is named and it is not clear for which embedding, or it is none.
    """
    chosen = meant(config, table, embedding)
    if model is not None:
        return [_by_model(config, chosen, model)]
    return list(_by_configuration(config, state, chosen))


def _by_model(config: Config, chosen: list[Meant], model: str) -> tuple[Meant, Making]:
    if model not in config.models:
        known = ", ".join(config.models) or "none"
        raise ConfigurationError(f"--model: there is no [models.{model}] in the configuration; there are: {known}")
    made = [one for one in chosen if one.embedding.vector is None]
    if len(made) != 1:
        raise ConfigurationError(f"--model: {_which(made)}")
    [one] = made
    return one, making_of(config, one.embedding.model_copy(update={"model": model}))


def _which(made: list[Meant]) -> str:
    if not made:
        return "these vectors are a column's; edit the embedding in the configuration, then run it without --model"
    return f"for which embedding? name it with --table and --embedding; there are: {', '.join(map(str, made))}"


def _by_configuration(config: Config, state: State, chosen: list[Meant]) -> Iterator[tuple[Meant, Making]]:
    for one in chosen:
        carriers = recalled_carriers(config, state, one)
        if len(carriers) > 1:
            yield one, newest(carriers).making
            continue
        now = making_of(config, one.embedding)
        if not now.makes_the_same_as(live_one(carriers).making):
            yield one, now


def recalled_carriers(config: Config, state: State, one: Meant) -> list[Carrier]:
    """The embedding's carriers, oldest first; at least one.

    A state that was just adopted, or was written by an earlier version, does not say how its vectors are made: as
    configured, if that is what its scope says. Raise Refused when it is not, or when there are no vectors yet.
    """
    carriers = state.carriers.of(*one.names)
    if carriers:
        return carriers
    fields, prefix = state.scope.fields(), carrier_prefix(*one.names)
    if f"{prefix}text" not in fields:
        raise Refused(f"the state knows no vectors of {one}", next_step="byov-migrate backfill")
    stored = tuple(fields.get(f"{prefix}{name}") for name in ("text", "vector", "fingerprint"))
    now = making_of(config, one.embedding)
    if stored != (now.text, now.vector, now.fingerprint):
        raise Refused(
            f"the state does not say how the stored vectors of {one} are made, and the configuration has changed",
            next_step=f"put the old settings back, name the new model under [models], then {REEMBED} --model NAME",
        )
    state.carriers.remember(one.table.name, one.embedding.property_name, one.embedding.property_name, now)
    return state.carriers.of(*one.names)


def newest(carriers: list[Carrier]) -> Carrier:
    """The one that was begun last."""
    return carriers[-1]
