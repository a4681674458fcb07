"""Models for people and applications: what a directory is, and query vectors that fit the stored ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from byov_migrate.config import Config
from byov_migrate.errors import ConfigurationError
from byov_migrate.jobs.carriers import as_stored
from byov_migrate.jobs.search import Searched, choose, query_model, require_stored_model, stored_fingerprint
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.state.looking import looked_at

if TYPE_CHECKING:
    from byov_migrate.embed import Encoder, ModelDescription
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
        self._config = config
        self._asked = (table, embedding)
        self._clock = (surroundings or Surroundings()).clock
        self._searched, self._encoder = self._load()

    def _load(self) -> tuple[Searched, Encoder]:
        from byov_migrate.embed import load_encoder

        stored = as_stored(self._config, self._clock)
        searched = choose(stored, *self._asked)
        model = query_model(stored, searched)
        encoder = load_encoder(model)
        if self._config.state_path.exists():
            with looked_at(self._config.state_path, self._clock) as state:
                require_stored_model(state.scope.fields(), searched, model, encoder.fingerprint)
        return searched, encoder

    def refresh(self) -> bool:
        """Take another model where searches were switched to one meanwhile; whether that was so.

        Costs a look into the state's file, and the loading of the model if there is another.
        """
        if self._is_current():
            return False
        self._searched, self._encoder = self._load()
        return True

    def _is_current(self) -> bool:
        """The property comes back with the model after the next: it does not tell one model from another."""
        found = choose(as_stored(self._config, self._clock), *self._asked)
        if found.embedding.carrier != self._searched.embedding.carrier:
            return False
        if not self._config.state_path.exists() or found.embedding.vector is not None:
            return True
        with looked_at(self._config.state_path, self._clock) as state:
            return stored_fingerprint(state.scope.fields(), found) in (None, self._encoder.fingerprint)

    @property
    def property_name(self) -> str:
        """The `propertyName` to ask RushDB with: the one that holds the vectors of this model."""
        return self._searched.embedding.carrier

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._encoder.dimension

    def encode(self, text: str) -> Vector:
        """The query's vector: float32, shape (dimension,)."""
        return self._encoder.encode_query(text)
