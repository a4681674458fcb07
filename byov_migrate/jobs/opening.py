"""Both ends and the state, opened in the order in which they can refuse, closed in the reverse."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from byov_migrate import source
from byov_migrate.config import Config, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.errors import Busy, MigrationError, Refused
from byov_migrate.jobs.carriers import as_carried
from byov_migrate.jobs.documents import plan_digest
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.source import LinkShape, Session, SourceIdentity, TableReader
from byov_migrate.state import State, open_state
from byov_migrate.state.adopting import made_anew, require_empty
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
    plan_digest: str  # of the configuration as it was given

    @cached_property
    def links(self) -> tuple[LinkShape, ...]:
        """Every link of the configuration, as the catalogue explains it. Raise ConfigurationError."""
        return source.open_links(self.session, self.config, self.digests)

    def reader(self, table: TableConfig, dimensions: Mapping[str, int]) -> TableReader:
        """A table as it stands in the catalog. Raise ConfigurationError with everything that does not fit.

        dimensions: by carrier, where the table itself may hold no vector to tell.
        """
        reader = source.open_table(self.session, table, self.digests, links=self.links)
        found = zip(table.embeddings, reader.dimensions, strict=True)
        known = [dimensions.get(item.carrier) if item.vector and own is None else own for item, own in found]
        if tuple(known) == reader.dimensions:
            return reader
        return source.open_table(self.session, table, self.digests, dimensions=known, links=self.links)

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


@dataclass(frozen=True)
class TargetSide:
    """Target and state of a job that may write and reads no row: the source may be gone, and so may the hash key."""

    config: Config
    around: Surroundings
    state: State
    wire: Wire
    server: Server
    patience: Patience

    def note(self, action: str, **fields: Any) -> None:
        """Tell the log, and keep it in the state."""
        self.around.log(action, **fields)
        self.state.runs.note(action, **fields)


@contextlib.contextmanager
def opened(config: Config, command: str, around: Surroundings) -> Iterator[Ends]:
    """Open everything for a writing job, under the run lock. A failure is written into the run's row on the way out."""
    with contextlib.ExitStack() as stack:
        _lock(stack, config, command, around)
        fresh = not config.state_path.exists()
        digests = open_hash_key(config.hash_key, around.environment, create=fresh)
        session = stack.enter_context(source.connect(config.source, around.environment))
        identity = source.source_identity(session)
        wire, server, patience = _target(stack, config, around)
        state = open_state(config.state_path, around.clock, create=True, keep_vectors=config.state.vectors)
        stack.callback(state.close)
        stack.enter_context(_recorded(state, command, around))
        carried = as_carried(config, state.carriers)
        digest = plan_digest(config)
        yield Ends(carried, around, state, digests, session, identity, wire, server, patience, digest)


@contextlib.contextmanager
def opened_anew(config: Config, command: str, around: Surroundings) -> Iterator[Ends]:
    """As `opened`, with a new state that takes its place when the caller is done; after an error nothing is left of it.

    Raise Refused when a state is there that knows anything, or when the hash key is gone.
    """
    with contextlib.ExitStack() as stack:
        _lock(stack, config, command, around)
        require_empty(config.state_path, around.clock)
        digests = open_hash_key(config.hash_key, around.environment, create=False)
        session = stack.enter_context(source.connect(config.source, around.environment))
        identity = source.source_identity(session)
        wire, server, patience = _target(stack, config, around)
        made = stack.enter_context(made_anew(config.state_path))
        state = open_state(made, around.clock, create=True, keep_vectors=config.state.vectors)
        stack.callback(state.close)
        state.runs.begin_run(command)
        digest = plan_digest(config)
        yield Ends(config, around, state, digests, session, identity, wire, server, patience, digest)


@contextlib.contextmanager
def opened_target(config: Config, command: str, around: Surroundings) -> Iterator[TargetSide]:
    """As `opened`, without the source. Raise Refused when there is no state: nobody else knows what is ours."""
    if not config.state_path.exists():
        raise Refused(f"there is no state at {config.state_path.name}, and it alone knows which records are ours")
    with contextlib.ExitStack() as stack:
        _lock(stack, config, command, around)
        wire, server, patience = _target(stack, config, around)
        state = stack.enter_context(contextlib.closing(open_state(config.state_path, around.clock, create=False)))
        stack.enter_context(_recorded(state, command, around))
        yield TargetSide(config, around, state, wire, server, patience)


def _target(stack: contextlib.ExitStack, config: Config, around: Surroundings) -> tuple[Wire, Server, Patience]:
    """The target, after it has said that it may be written to."""
    patience = around.patience(config.target.give_up_after)
    wire = provision.open_wire(config.target, lambda: config.target.api_key.read(around.environment))
    stack.callback(wire.close)
    server = patience.retry(wire.server)
    provision.require_writer(server)
    return wire, server, patience


@contextlib.contextmanager
def _recorded(state: State, command: str, around: Surroundings) -> Iterator[None]:
    """Begin a run; a failure is told and written into its row."""
    state.runs.begin_run(command)
    try:
        yield
    except MigrationError as error:
        with contextlib.suppress(MigrationError):
            facts = {"code": error.exit_code, "kind": type(error).__name__}
            around.log("failed", **facts)
            state.runs.note("failed", **facts)
            state.runs.end_run(error.exit_code, {})
        raise


@contextlib.contextmanager
def written_state(config: Config, command: str, around: Surroundings) -> Iterator[State]:
    """The state alone, to be written under the run lock. Raise Refused when there is none yet."""
    with contextlib.ExitStack() as stack:
        _lock(stack, config, command, around)
        state = stack.enter_context(contextlib.closing(open_state(config.state_path, around.clock, create=False)))
        stack.enter_context(_recorded(state, command, around))
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
