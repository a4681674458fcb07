"""Models for people and applications: what a directory is, and query vectors that fit the stored ones."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from byov_migrate.config import Config
from byov_migrate.errors import ConfigurationError
from byov_migrate.jobs.search import choose, query_model, require_stored_model
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.state import open_state

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

    table: name or label, embedding: its property; by default the first table that has one, and its first. They decide
    the model and its query prompt. Where the migration's state lies beside the configuration, a model that is not the
    one whose vectors are stored raises Refused; without a state nobody can tell. ConfigurationError without a model.
    """

    def __init__(
        self,
        config: Config,
        *,
        table: str | None = None,
        embedding: str | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        from byov_migrate.embed import load_encoder

        searched = choose(config, table, embedding)
        model = query_model(config, searched)
        self._encoder = load_encoder(model)
        if config.state_path.exists():
            clock = (surroundings or Surroundings()).clock
            with contextlib.closing(open_state(config.state_path, clock, create=False)) as state:
                require_stored_model(state.scope.fields(), searched, model, self._encoder.fingerprint)

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._encoder.dimension

    def encode(self, text: str) -> Vector:
        """The query's vector: float32, shape (dimension,)."""
        return self._encoder.encode_query(text)
