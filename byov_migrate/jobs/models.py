"""Models for people and applications: what a directory is, and query vectors that fit the stored ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from byov_migrate.config import Config
from byov_migrate.errors import ConfigurationError
from byov_migrate.jobs.search import searchable
from byov_migrate.jobs.surroundings import Surroundings

if TYPE_CHECKING:
    from byov_migrate.embed import ModelDescription
    from byov_migrate.embed.convert import ConvertResult
    from byov_migrate.records import Vector


def describe_model(config: Config, name: str | None) -> ModelDescription:
    """What `[models.NAME]` is. Raise ConfigurationError when it is not clear which one is meant."""
    from byov_migrate.embed import describe

    known = list(config.models)
    if name is None and len(known) == 1:
        name = known[0]
    if name is None or name not in config.models:
        raise ConfigurationError(f"which model? There are: {', '.join(known) or 'none'}")
    return describe(config.models[name])


def convert_model(source: Path, destination: Path, *, surroundings: Surroundings | None = None) -> ConvertResult:
    """Make a safetensors directory of one whose weights are pickles; `destination` appears whole or not at all.

    Raise ConfigurationError for a directory that cannot be converted safely or to the same vectors, or a destination
    that is there; PersonNeeded, Unavailable and Interrupted as every job.
    """
    from byov_migrate.embed.convert import convert_directory

    around = surroundings or Surroundings()
    result = convert_directory(source, destination, is_stopped=around.stop.is_set, monotonic=around.monotonic)
    around.log("converted", pickles=len(result.converted), tensors=result.tensors, left_out=len(result.left_out))
    return result


class QueryEncoder:
    """Query vectors for an application that asks RushDB itself; loads the model once.

    The first embedding of `table` (by default of the first table that has one) decides the model and its query prompt.
    """

    def __init__(self, config: Config, *, table: str | None = None) -> None:
        from byov_migrate.embed import load_encoder

        _entry, embedding = searchable(config, table)
        if embedding.model is None:
            raise ConfigurationError(f"no model embeds {embedding.property_name}; name one to embed queries with")
        self._encoder = load_encoder(config.models[embedding.model])

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._encoder.dimension

    def encode(self, text: str) -> Vector:
        """The query's vector: float32, shape (dimension,)."""
        return self._encoder.encode_query(text)
