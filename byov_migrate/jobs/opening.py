"""Both ends and the state, opened in the order in which they can refuse, closed in the reverse."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from byov_migrate import source
from byov_migrate.config import Config, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.errors import Busy, MigrationError
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.source import Session, SourceIdentity, TableReader
from byov_migrate.state import State, open_state
from byov_migrate.state.keyfile import open_hash_key
from byov_migrate.state.lock import run_lock
from byov_migrate.target import provision
from byov_migrate.target.retry import Patience
from byov_migrate.target.wire import Server, Wire

STANDSTILL_S = 30 * 60


@dataclass(frozen=True)
class Ends:
    """Source, target and state of a job that may write."""

    config: Config
    around: Surroundings
    state: State
    digests: Digests
    session: Session
    source_identity: SourceIdentity
    wire: Wire
    server: Server
    patience: Patience

    def reader(self, table: TableConfig, dimensions: Mapping[str, int]) -> TableReader:
        """A table as it stands in the catalog. Raise ConfigurationError with everything that does not fit.

        dimensions: by embedding property, where the table itself may hold no vector to tell.
        """
        number = self.config.tables.index(table)
        reader = source.open_table(self.session, table, self.digests, number)
        found = zip(table.embeddings, reader.dimensions, strict=True)
        known = [dimensions.get(item.property_name) if item.vector and own is None else own for item, own in found]
        if tuple(known) == reader.dimensions:
            return reader
        return source.open_table(self.session, table, self.digests, number, known)

    @property
    def system(self) -> str:
        """What identifies the database cluster; a service that hides it needs `[state] source_id`."""
        return self.config.state.source_id or self.source_identity.system_identifier or "hidden"

    def source_name(self, table: TableConfig) -> str:
        """What the marker says of where the rows come from; no host, no value."""
        identity = self.source_identity
        return f"{self.system}/{identity.database}/{table.name}"

    def note(self, action: str, **fields: Any) -> None:
        """Tell the log, and keep it in the state."""
        self.around.log(action, **fields)
        self.state.runs.note(action, **fields)

    def finish(self, exit_code: int, summary: Mapping[str, Any]) -> None:
        """Close the run's row."""
        self.state.runs.end_run(exit_code, summary)


@contextlib.contextmanager
def opened(config: Config, command: str, around: Surroundings) -> Iterator[Ends]:
    """Open everything for a writing job, under the run lock. A failure is written into the run's row on the way out."""
    with contextlib.ExitStack() as stack:
        _lock(stack, config, command, around)
        fresh = not config.state_path.exists()
        digests = open_hash_key(config.hash_key, around.environment, create=fresh)
        session = stack.enter_context(source.connect(config.source, around.environment))
        identity = source.source_identity(session)
        patience = around.patience(config.target.give_up_after)
        wire = provision.open_wire(config.target, lambda: config.target.api_key.read(around.environment))
        stack.callback(wire.close)
        server = patience.retry(wire.server)
        provision.require_writer(server)
        state = open_state(config.state_path, around.clock, create=True, keep_vectors=config.state.vectors)
        stack.callback(state.close)
        state.runs.begin_run(command)
        ends = Ends(config, around, state, digests, session, identity, wire, server, patience)
        try:
            yield ends
        except MigrationError as error:
            with contextlib.suppress(MigrationError):
                ends.note("failed", code=error.exit_code, kind=type(error).__name__)
                ends.finish(error.exit_code, {})
            raise


@contextlib.contextmanager
def written_state(config: Config, command: str, around: Surroundings) -> Iterator[State]:
    """The state alone, to be written under the run lock. Raise Refused when there is none yet."""
    with contextlib.ExitStack() as stack:
        _lock(stack, config, command, around)
        state = stack.enter_context(contextlib.closing(open_state(config.state_path, around.clock, create=False)))
        state.runs.begin_run(command)
        yield state


def _lock(stack: contextlib.ExitStack, config: Config, command: str, around: Surroundings) -> None:
    try:
        stack.enter_context(run_lock(config.state_path, command=command, now=around.clock()))
    except Busy as error:
        idle_s = _idle_s(config, around)
        if idle_s < STANDSTILL_S:
            raise
        raise Busy(f"{error}; it has made no progress for {idle_s / 60:.0f} min", silent=False) from error


def _idle_s(config: Config, around: Surroundings) -> float:
    """Seconds since the run at work last settled something; 0 where that cannot be told."""
    with (
        contextlib.suppress(MigrationError),
        contextlib.closing(open_state(config.state_path, around.clock, create=False)) as state,
    ):
        return max((around.clock() - run["progress_at"] for run in state.runs.last(1)), default=0.0)
    return 0.0
