"""Whether the state can be kept: its folder, the disk, its key, its lock, and what it belongs to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from byov_migrate.config import Config, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.errors import PersonNeeded, Refused, Unavailable
from byov_migrate.jobs.check.findings import Finding, Speaker
from byov_migrate.jobs.check.seen import Seen, StateFacts
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.jobs.table_work import place_fields
from byov_migrate.state.database import NETWORK_FILE_SYSTEMS, file_system_of
from byov_migrate.state.keyfile import open_hash_key
from byov_migrate.state.lock import require_unlocked
from byov_migrate.state.looking import looked_at
from byov_migrate.state.scope import Difference, compare, next_step, table_fields

ROW_BYTES = 500
VECTOR_BYTES = 3000
_state = Speaker("state")


def look_at_state(config: Config, around: Surroundings, seen: Seen) -> Iterator[Finding]:
    """All of it, from what is there; nothing is made, not even for a moment."""
    yield from _state.told("state-folder", partial(_folder, config.state_path))
    yield from _state.told("state-disk", partial(_disk, config, seen))
    yield from _state.told("state-file", partial(_file, config, around, seen))
    yield from _state.told("state-lock", partial(_lock, config.state_path))
    yield from _state.told("hash-key", partial(_hash_key, config, around, seen))


def _nearest_folder(path: Path) -> Path:
    """The folder of a file, or the first above it that is there."""
    return next(folder for folder in path.resolve().parents if folder.exists())


def _folder(path: Path) -> Iterator[Finding]:
    folder = _nearest_folder(path)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise PersonNeeded(f"{folder} is no folder that can be written; the state {path.name} would lie there")
    kind = file_system_of(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        raise PersonNeeded(
            f"{folder} lies on a network file system ({kind}), where locks do not hold",
            next_step="put the state on a local disk with [state] url",
        )
    yield _state.ok("state-folder", f"{folder} can be written and is local ({kind or 'kind not told'})")


def _disk(config: Config, seen: Seen) -> Iterator[Finding]:
    folder = _nearest_folder(config.state_path)
    free = shutil.disk_usage(folder).free
    rows = sum(seen.rows.values())
    needed = rows * (ROW_BYTES + (VECTOR_BYTES if config.state.vectors else 0))
    text = f"{free / 1e6:,.0f} MB free, about {max(needed / 1e6, 1):,.0f} MB needed for {rows:,} rows"
    if free < needed:
        raise Unavailable(f"{text}; free space under {folder}")
    yield _state.ok("state-disk", text)


def _file(config: Config, around: Surroundings, seen: Seen) -> Iterator[Finding]:
    path = config.state_path
    if not path.exists():
        yield _state.ok("state-file", f"no {path.name} yet: the first backfill makes it")
        return
    with looked_at(path, around.clock) as state:
        records = {entry.name: state.ledger.count_records(entry.name) for entry in config.entries}
        vectors = {
            (entry.name, item.carrier): state.ledger.count_vectors(entry.name, item.carrier)
            for entry in config.entries
            for item in entry.embeddings
        }
        runs = state.runs
        found = StateFacts(state.format, runs.state_id, runs.generation, records, vectors, state.scope.fields())
    seen.state = found
    if path.stat().st_mode & 0o077:
        yield _state.warn("state-mode", f"{path.name} can be read by others; it holds keys", f"chmod 600 {path}")
    about = f"format {found.format}, id {found.state_id[:8]}, generation {found.generation}"
    yield _state.ok("state-file", f"{path.name}: {about}, {sum(found.records.values()):,} records")


def _lock(path: Path) -> Iterator[Finding]:
    require_unlocked(path)
    yield _state.ok("state-lock", "no other run is at work")


def _hash_key(config: Config, around: Surroundings, seen: Seen) -> Iterator[Finding]:
    secret = config.hash_key
    if secret.file is not None and not secret.file.exists() and seen.state is None:
        yield _state.ok("hash-key", f"no {secret.file.name} yet: the first backfill makes it; keep a copy")
        return
    digests = open_hash_key(secret, around.environment, create=False)
    where = f"{secret.file.name}, which only its owner can read" if secret.file else "given, not in a file"
    seen.digests = digests
    yield _state.ok("hash-key", f"the hash key is {where}")


def look_at_scope(config: Config, seen: Seen) -> Iterator[Finding]:
    """What changed since the state was written, as far as both sides are known."""
    if seen.state is None or not seen.state.scope or seen.digests is None:
        return
    current: dict[str, Any] = {**_places(config, seen.digests, seen)}
    for entry in config.entries:
        current |= _table_fields(entry, seen)
    differences = compare(seen.state.scope, current)
    for item in differences:
        yield _difference(item)
    if not differences:
        yield _state.ok("state-scope", "the state belongs to these settings and ends")


def _places(config: Config, digests: Digests, seen: Seen) -> Mapping[str, str]:
    if seen.identity is None:
        return {}
    system = config.state.source_id or seen.identity.system_identifier or "hidden"
    return place_fields(system, seen.identity.database, digests, seen.project)


def _table_fields(table: TableConfig, seen: Seen) -> Mapping[str, Any]:
    """Empty while the table, one of its models or the links could not be looked at."""
    shape = seen.shapes.get(table.name)
    embedded = [item for item in table.embeddings if item.vector is None]
    if shape is None or seen.links is None or any(item.model not in seen.models for item in embedded):
        return {}
    fingerprints = {item.carrier: seen.models[item.model or ""].fingerprint for item in embedded}
    here = [link.config for link in seen.links if link.source.entry.label == table.label]
    return table_fields(table, [column.name for column in shape.key], fingerprints, shape.signatures, here)


def _difference(item: Difference) -> Finding:
    return _state.fail("state-scope", Refused(str(item), next_step=next_step([item])))
