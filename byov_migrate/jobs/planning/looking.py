"""A look at what is not the source: the target, if it answers, and the state, if there is one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from byov_migrate import source
from byov_migrate.config import Config
from byov_migrate.errors import Interrupted, MigrationError
from byov_migrate.jobs import table_work
from byov_migrate.jobs.planning.stored import looked_at
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.table_work import Models
from byov_migrate.source import Session, TableReader
from byov_migrate.state.keyfile import open_hash_key
from byov_migrate.state.scope import Difference, compare, table_fields
from byov_migrate.target import provision
from byov_migrate.target.wire import Index, Server


@dataclass(frozen=True, slots=True)
class TargetLook:
    """What answers at the URL, asked by reads alone. `kind` None: it was not reached, and `problem` says why."""

    kind: str | None
    round_trip_s: float | None = None
    problem: str | None = None
    indexes: tuple[Index, ...] = field(default=(), repr=False)
    server: Server | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that is not what it was when the state was written. `change`: apply, re-embed, re-identify, another."""

    field: str
    change: str
    old: object
    new: object
    meaning: str


@dataclass(frozen=True, slots=True)
class StateLook:
    """What is stored already. `stored`: records by table. `problem`: why the state could not be compared."""

    exists: bool
    stored: Mapping[str, int] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    to_clear: Mapping[str, int] = field(default_factory=dict)
    problem: str | None = None


def look_at_target(config: Config, around: Surroundings) -> TargetLook:
    """Ask once, without patience: a plan is worth having without an answer."""
    try:
        with contextlib.closing(
            provision.open_wire(config.target, lambda: config.target.api_key.read(around.environment))
        ) as wire:
            server = wire.server()  # the first answer pays for the connection
            began = around.monotonic()
            indexes = wire.indexes()
            round_trip_s = around.monotonic() - began
    except Interrupted:
        raise
    except MigrationError as error:
        return TargetLook(None, problem=str(error))
    return TargetLook(server.kind, round_trip_s, None, tuple(indexes), server)


def look_at_state(
    config: Config,
    around: Surroundings,
    session: Session,
    readers: Sequence[TableReader],
    models: Models,
    indexes: Sequence[Index],
) -> StateLook:
    """Compare the state with the configuration and the ends, as the next run would. Nothing is locked or changed."""
    if not config.state_path.exists():
        return StateLook(exists=False)
    try:
        with looked_at(config.state_path, around.clock) as (scope, ledger):
            written = scope.fields()
            names = [table.name for table in config.tables]
            stored = {name: ledger.count_records(name) for name in names}
            current = _current_fields(config, around, session, readers, models, indexes)
            changes = tuple(map(_change, compare(written, current)))
            to_clear = {
                name: sum(ledger.count_vectors(name, item.property_name) for item in config.table(name).embeddings
                          if item.vector is None)
                for name in names
                if not config.state.vectors and _clears(name, changes)
            }  # fmt: skip
            return StateLook(True, stored, changes, to_clear)
    except Interrupted:
        raise
    except MigrationError as error:
        return StateLook(exists=True, problem=str(error))


def _current_fields(
    config: Config,
    around: Surroundings,
    session: Session,
    readers: Sequence[TableReader],
    models: Models,
    indexes: Sequence[Index],
) -> dict[str, object]:
    identity = source.source_identity(session)
    system = config.state.source_id or identity.system_identifier or "hidden"
    digests = open_hash_key(config.hash_key, around.environment, create=False)
    project = indexes[0].project if indexes else None
    fields: dict[str, object] = {**table_work.place_fields(system, identity.database, digests, project)}
    for table, reader in zip(config.tables, readers, strict=True):
        texts = [item for item in table.embeddings if item.vector is None and item.model]
        fingerprints = {item.property_name: models.identity(item.model or "").fingerprint for item in texts}
        key = [column.name for column in reader.shape.key]
        fields |= table_fields(table, key, fingerprints, reader.shape.signatures)
    return fields


def _change(difference: Difference) -> Change:
    return Change(difference.field, difference.change, difference.old, difference.new, str(difference))


def _clears(table: str, changes: Sequence[Change]) -> bool:
    """Whether a property disappears from stored records, which costs a vector that nobody has kept."""
    fields = {f"tables[{table}].{name}" for name in ("columns", "rename")}
    return any(item.field in fields and _names(item.old) - _names(item.new) for item in changes)


def _names(setting: object) -> set[str]:
    """Column names of a list, or pairs of a renaming."""
    if isinstance(setting, Mapping):
        return {f"{column} as {name}" for column, name in setting.items()}
    return set(setting) if isinstance(setting, list) else set()
