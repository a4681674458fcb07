"""A look at what is not the source: the target, if it answers, and the state, if there is one."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from byov_migrate import source
from byov_migrate.config import Config, TableConfig
from byov_migrate.errors import Interrupted, MigrationError
from byov_migrate.jobs import table_work
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.table_work import Models
from byov_migrate.source import LinkShape, Session, TableReader
from byov_migrate.state.keyfile import open_hash_key
from byov_migrate.state.ledger import Ledger
from byov_migrate.state.links import LinkCounts
from byov_migrate.state.looking import looked_at
from byov_migrate.state.scope import Difference, compare, table_fields
from byov_migrate.target import provision
from byov_migrate.target.wire import Server, ServerKind


@dataclass(frozen=True, slots=True)
class TargetLook:
    """What answers at the URL, asked by reads alone. `kind` None: it was not reached, and `problem` says why.

    mode: how rows will be written. project: as an index of ours names it, None while there is none.
    """

    kind: str | None
    mode: str
    round_trip_s: float | None = None
    project: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that is not what it was when the state was written. `change`: apply, re-embed, re-identify, another."""

    field: str
    change: str
    old: Any
    new: Any
    meaning: str


@dataclass(frozen=True, slots=True)
class StateLook:
    """What is stored already.

    stored: records by table. links: what is known of them, by name. to_clear: unchanged texts by table that would be
    embedded again, because a property disappears from records whose vector nobody has kept. problem: why the state
    could not be compared.
    """

    exists: bool
    stored: Mapping[str, int] = field(default_factory=dict)
    links: Mapping[str, LinkCounts] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    to_clear: Mapping[str, int] = field(default_factory=dict)
    problem: str | None = None

    def embeds_again(self, table: str) -> bool:
        """Whether a setting was changed that all stored vectors of a table hang on."""
        mine = (change for change in self.changes if change.field.startswith(f"tables[{table}]."))
        return any(change.change == "re-embed" for change in mine)


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
        return TargetLook(None, _assumed_mode(config), problem=str(error))
    project = indexes[0].project if indexes else None
    return TargetLook(server.kind, table_work.write_mode(config, server), round_trip_s, project)


def _assumed_mode(config: Config) -> str:
    kind: ServerKind = "cloud" if config.target.is_cloud else "platform"
    return table_work.write_mode(config, Server(kind, "", None))


def look_at_state(
    config: Config,
    around: Surroundings,
    session: Session,
    readers: Sequence[TableReader],
    links: Sequence[LinkShape],
    models: Models,
    project: str | None,
) -> StateLook:
    """Compare the state with the configuration and the ends, as the next run would. Nothing is locked or changed."""
    if not config.state_path.exists():
        return StateLook(exists=False)
    try:
        with looked_at(config.state_path, around.clock) as state:
            written = state.scope.fields()
            names = [entry.name for entry in config.entries]
            stored = {name: state.ledger.count_records(name) for name in names}
            known = {name: state.links.counts(name) for name in state.links.names()}
            current = _current_fields(config, around, session, readers, links, models, project)
            changes = tuple(map(_change, compare(written, current)))
            gone = [name for name in names if _outgoing(written, name) - _outgoing(current, name)]
            costly = () if config.state.vectors else gone  # a property that disappears erases a vector
            to_clear = {name: _vectors_made(config.table(name), state.ledger) for name in costly}
            return StateLook(exists=True, stored=stored, links=known, changes=changes, to_clear=to_clear)
    except Interrupted:
        raise
    except MigrationError as error:
        return StateLook(exists=True, problem=str(error))


def _current_fields(
    config: Config,
    around: Surroundings,
    session: Session,
    readers: Sequence[TableReader],
    links: Sequence[LinkShape],
    models: Models,
    project: str | None,
) -> dict[str, Any]:
    identity = source.source_identity(session)
    system = config.state.source_id or identity.system_identifier or "hidden"
    digests = open_hash_key(config.hash_key, around.environment, create=False)
    fields: dict[str, Any] = {**table_work.place_fields(system, identity.database, digests, project)}
    for table, reader in zip(config.entries, readers, strict=True):
        texts = [item for item in table.embeddings if item.vector is None and item.model]
        fingerprints = {item.carrier: models.identity(item.model or "").fingerprint for item in texts}
        key = [column.name for column in reader.shape.key]
        here = [link.config for link in links if link.source.entry.label == table.label]
        fields |= table_fields(table, key, fingerprints, reader.shape.signatures, here)
    return fields


def _vectors_made(table: TableConfig, ledger: Ledger) -> int:
    """Stored vectors that a model made."""
    made = (item.carrier for item in table.embeddings if item.vector is None)
    return sum(ledger.count_vectors(table.name, name) for name in made)


def _change(difference: Difference) -> Change:
    return Change(difference.field, difference.change, difference.old, difference.new, str(difference))


def _outgoing(fields: Mapping[str, Any], table: str) -> set[str]:
    """Names of the properties that a table's columns become."""
    renamed = fields.get(f"tables[{table}].rename") or {}
    return {renamed.get(column, column) for column in fields.get(f"tables[{table}].columns") or ()}
