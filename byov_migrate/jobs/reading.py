"""Both ends and the state for jobs that only look: no lock, nothing made, nothing written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from byov_migrate import source
from byov_migrate.config import Config, EmbeddingConfig, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.jobs.carriers import as_searched
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.source import LinkShape, Session, TableReader
from byov_migrate.state import State, open_state
from byov_migrate.state.keyfile import open_hash_key
from byov_migrate.target import provision
from byov_migrate.target.retry import Patience
from byov_migrate.target.wire import Wire


@dataclass(frozen=True)
class Reading:
    """Open ends of a reading job."""

    config: Config
    state: State
    digests: Digests
    session: Session
    wire: Wire
    patience: Patience
    _readers: dict[tuple[str, ...], TableReader] = field(default_factory=dict)

    @cached_property
    def links(self) -> tuple[LinkShape, ...]:
        """Every link of the configuration, as the catalogue explains it. Raise ConfigurationError."""
        return source.open_links(self.session, self.config, self.digests)

    def reader(self, table: TableConfig) -> TableReader:
        """A table as it stands in the catalog."""
        asked = (table.name, *(item.carrier for item in table.embeddings))
        if asked not in self._readers:
            self._readers[asked] = source.open_table(self.session, table, self.digests, links=self.links)
        return self._readers[asked]

    def local_texts(self, table: TableConfig, embedding: EmbeddingConfig, keys: Sequence[str]) -> dict[str, str]:
        """Key -> rendered text of these rows, from PostgreSQL; rows that are gone or have no text are absent."""
        if embedding.text is None or not keys:
            return {}
        reader, number = self.reader(table), table.embeddings.index(embedding)
        positions = [position for key in keys if (position := reader.position_of(key)) is not None]
        return {key: text for key, texts in reader.texts(positions).items() if (text := texts[number])}


@contextlib.contextmanager
def reading(config: Config, around: Surroundings, wire: Wire | None = None) -> Iterator[Reading]:
    """Open everything for a job that only reads. Raise Refused when there is no state yet.

    wire: what stands for RushDB; by default the one that the configuration names.
    """
    with contextlib.ExitStack() as stack:
        state = open_state(config.state_path, around.clock, create=False)
        stack.callback(state.close)
        digests = open_hash_key(config.hash_key, around.environment, create=False)
        session = stack.enter_context(source.connect(config.source, around.environment))
        wire = wire or provision.open_wire(config.target, lambda: config.target.api_key.read(around.environment))
        stack.callback(wire.close)
        searched = as_searched(config, state.carriers)
        yield Reading(searched, state, digests, session, wire, around.patience(config.target.give_up_after))
