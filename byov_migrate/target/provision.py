"""Before the first row: which server, which indexes, whose label."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from byov_migrate.config import TargetConfig
from byov_migrate.errors import Ambiguous, CredentialsRefused, PersonNeeded, Refused, Retriable, RowRefused
from byov_migrate.target.http import HttpClient
from byov_migrate.target.rest import RestWire
from byov_migrate.target.retry import Patience
from byov_migrate.target.wire import Index, Outbound, Server, Stored, Wire

DEFAULT_BUDGET_S = 60.0
ANSWER_MARGIN_S = 10.0
"""Added to the server's budget, so that its own time limit answers before ours cuts the connection."""
MARKER_LABEL = "ByovMigration"
FORMAT = 1
OURS = {"byovBatch": {"$exists": True}}
"""Matches the records that byov-migrate wrote, markers apart."""
UNIQUENESS_KEY = "~byov-unique"
"""The key of two records that are tried and removed. No row has it: text that begins so gets another `~` in front."""
TRIAL = {"byovKey": UNIQUENESS_KEY}
"""Matches those two records."""
IF_LOST = "if that state is lost: byov-migrate adopt"


def open_wire(config: TargetConfig, read_key: Callable[[], str]) -> Wire:
    """A client for the configured wire. Nothing is sent yet."""
    if config.wire == "engine":
        raise PersonNeeded("the v3 engine's own protocol is not spoken yet; use a RushDB with the REST API")
    timeout_s = (config.request_budget or DEFAULT_BUDGET_S) + ANSWER_MARGIN_S
    return RestWire(HttpClient(config, read_key, timeout_s=timeout_s))


def request_budget_s(config: TargetConfig, server: Server) -> float:
    """How long a request may go on in the server after we have left: as configured, else as announced, else 60 s."""
    return config.request_budget or server.request_budget_s or DEFAULT_BUDGET_S


def require_writer(server: Server) -> None:
    """Raise CredentialsRefused when the key may only read."""
    if server.key_level == "read":
        raise CredentialsRefused("the RushDB key may only read; make one of level write")


def ensure_indexes(
    wire: Wire, patience: Patience, label: str, dimensions: Mapping[str, int], similarity: str = "cosine"
) -> tuple[Index, ...]:
    """Create or adopt the index of each embedding property, before any data: afterwards types may stand in the way.

    Raise Refused when one exists with another dimension or similarity.
    """
    known = patience.retry(wire.indexes)
    return tuple(
        _ensure_index(wire, patience, known, (label, name), dimension, similarity)
        for name, dimension in dimensions.items()
    )


def require_empty(wire: Wire, index: Index) -> None:
    """Raise Retriable while an index that was made anew shows vectors of the one before: RushDB removes them later."""
    if held := wire.count_vectors(index):
        raise Retriable(f"{index.label}.{index.property_name} still holds {held:,} vectors of an index that is gone")


def _ensure_index(
    wire: Wire,
    patience: Patience,
    known: Sequence[Index],
    place: tuple[str, str],
    dimension: int,
    similarity: str,
) -> Index:
    label, name = place
    here = [index for index in known if (index.label, index.property_name) == place]
    for index in here:
        if (index.dimension, index.similarity) == (dimension, similarity):
            return index
    if here:
        found = f"{here[0].dimension} dimensions and {here[0].similarity}"
        raise Refused(
            f"RushDB holds an index on {label}.{name} with {found}; these vectors have {dimension} and {similarity}."
            " Give the embedding another property, or remove that index in RushDB"
        )
    return patience.retry(lambda: wire.create_index(label, name, dimension, similarity))


def delete_index(wire: Wire, index: Index) -> None:
    """Delete an index; to do so twice does no harm. Raise Retriable while it is still listed."""
    try:
        wire.delete_index(index)
    except Ambiguous as error:
        raise Retriable(str(error)) from error


@dataclass(frozen=True, slots=True)
class Marker:
    """Whose label it is. One record of `ByovMigration` a label; holds no value of any row."""

    label: str
    state: str
    source: str
    generation: int

    def properties(self) -> dict[str, str | int]:
        """As stored."""
        return {
            "byovKey": self.label,
            "byovState": self.state,
            "byovGeneration": self.generation,
            "byovSource": self.source,
            "byovFormat": FORMAT,
        }


def claim_label(wire: Wire, patience: Patience, marker: Marker, *, records_known: int) -> None:
    """Write our marker, or find it there. Nothing else is written.

    records_known: records of the label that the state knows of. Raise Refused when the label belongs to another state,
    when it holds our records and no marker, or when a later generation has taken over.
    """
    found = _markers(wire, patience, marker.label)
    if not found:
        _refuse_stranger(wire, patience, marker.label, records_known)
        found = patience.retry(lambda: _write_marker(wire, patience, marker))
    _require_ours(wire, patience, found, marker)


def _write_marker(wire: Wire, patience: Patience, marker: Marker) -> list[Stored]:
    """Create the marker and read it back. Raise Retriable when it was accepted and not kept."""
    wire.create(MARKER_LABEL, [Outbound(marker.label, marker.properties())])
    found = _markers(wire, patience, marker.label)
    if not found:
        raise Retriable(f"RushDB accepted the marker of {marker.label} and does not keep it")
    return found


def _markers(wire: Wire, patience: Patience, label: str) -> list[Stored]:
    records, _ = patience.retry(lambda: wire.find(MARKER_LABEL, {"byovKey": label}, limit=100))
    return sorted(records, key=lambda record: record.record_id)  # time-ordered ids: the first claim wins


def _refuse_stranger(wire: Wire, patience: Patience, label: str, records_known: int) -> None:
    """No marker stands: either this is the first run, or state and target do not belong together."""
    if records_known:
        raise Refused(
            f"this state has written {records_known:,} records of {label}, and the project behind the key holds no"
            " marker of it; nothing was written. Use the key of the project that holds them"
        )
    _, total = patience.retry(lambda: wire.find(label, OURS, limit=1))
    if total:
        raise Refused(
            f"RushDB holds {total:,} records of {label} that byov-migrate wrote, and this state knows none of them;"
            " nothing was written. Use the state that wrote them, or another label"
        )


def _require_ours(wire: Wire, patience: Patience, found: Sequence[Stored], marker: Marker) -> None:
    first, *later = found
    if first.properties.get("byovState") != marker.state:
        ours = [record.record_id for record in later if record.properties.get("byovState") == marker.state]
        if ours:  # two states claimed the label at the same moment; the later claim withdraws
            patience.retry(lambda: wire.delete(MARKER_LABEL, ours))
        raise Refused(
            f"the label {marker.label} belongs to another state (its marker names state"
            f" {str(first.properties.get('byovState'))[:8]}, this one is {marker.state[:8]}); nothing was written."
            " Use the state that wrote it, or another label",
            next_step=IF_LOST,
        )
    stored = int(first.properties.get("byovGeneration", 1))
    if stored > marker.generation:
        raise Refused(
            f"a later copy of this state has taken over {marker.label} (generation {stored}, this one is"
            f" {marker.generation}); this one only reads"
        )
    if stored < marker.generation:
        patience.retry(lambda: wire.replace(MARKER_LABEL, first.record_id, marker.properties()))


def has_marker(wire: Wire, patience: Patience, label: str, *, state: str, generation: int) -> bool:
    """Whether the label has a marker, which then is of this state. Writes nothing.

    Raise Refused when it names another state, or a later generation of this one.
    """
    found = _markers(wire, patience, label)
    if not found:
        return False
    held = found[0].properties
    if held.get("byovState") != state:
        raise Refused(
            f"the label {label} belongs to another state (its marker names state {str(held.get('byovState'))[:8]},"
            f" this one is {state[:8]}); nothing was removed. Use the state that wrote it"
        )
    if (stored := int(held.get("byovGeneration", 1))) > generation:
        raise Refused(
            f"a later copy of this state has taken over {label} (generation {stored}, this one is {generation});"
            " nothing was removed. Use that one"
        )
    return True


def marker_of(wire: Wire, patience: Patience, label: str) -> Marker | None:
    """Whose the label is, whoever that may be; None when it is nobody's."""
    found = _markers(wire, patience, label)
    if not found:
        return None
    held = found[0].properties
    return Marker(label, str(held.get("byovState")), str(held.get("byovSource")), int(held.get("byovGeneration", 1)))


def take_over(wire: Wire, patience: Patience, before: Marker, ours: Marker) -> None:
    """Write our marker in place of the one that was found, and read it back: the state that it named then only reads.

    ours: of a higher generation. Raise Refused when the label has become somebody else's meanwhile.
    """
    patience.retry(lambda: _take_over(wire, patience, before, ours))


def _take_over(wire: Wire, patience: Patience, before: Marker, ours: Marker) -> None:
    held = marker_of(wire, patience, ours.label)
    if held not in (before, ours):
        raise Refused(f"another run has written the marker of {ours.label} meanwhile; look who is at work, then again")
    if held == before:
        first = _markers(wire, patience, ours.label)[0]
        with contextlib.suppress(Ambiguous):
            wire.replace(MARKER_LABEL, first.record_id, ours.properties())
        if marker_of(wire, patience, ours.label) != ours:
            raise Retriable(f"RushDB accepted the marker of {ours.label} and does not keep it")


def raise_generation(wire: Wire, patience: Patience, label: str, generation: int) -> None:
    """Write our generation into the label's marker where it names an older one: that copy then only reads."""
    first = _markers(wire, patience, label)[0]
    if int(first.properties.get("byovGeneration", 1)) < generation:
        changed = {**first.properties, "byovGeneration": generation}
        patience.retry(lambda: wire.replace(MARKER_LABEL, first.record_id, changed))


def release_label(wire: Wire, patience: Patience, label: str, *, state: str) -> None:
    """Remove our marker and see that it is gone: from then on the label is nobody's."""
    patience.retry(lambda: _remove_marker(wire, patience, label, state))


def _remove_marker(wire: Wire, patience: Patience, label: str, state: str) -> None:
    ours = [item for item in _markers(wire, patience, label) if item.properties.get("byovState") == state]
    if not ours:
        return
    with contextlib.suppress(Ambiguous):
        wire.delete(MARKER_LABEL, [record.record_id for record in ours])
    if any(item.properties.get("byovState") == state for item in _markers(wire, patience, label)):
        raise Retriable(f"RushDB does not remove the marker of {label}")


def try_paid_queries(wire: Wire, patience: Patience, label: str, indexes: Sequence[Index]) -> None:
    """One search and one grouped count: on Cloud both may need a paid plan, better known before the first write."""
    patience.retry(lambda: wire.count_by(label, "byovBatch", ["0" * 16]))
    if indexes:
        index = indexes[0]
        direction = np.zeros(index.dimension, dtype=np.float32)
        direction[0] = 1.0
        patience.retry(lambda: wire.search(index, direction, where=None, limit=1))


def keys_are_unique(wire: Wire, patience: Patience, label: str, *, budget_s: float = DEFAULT_BUDGET_S) -> bool:
    """Whether the server refuses a second record with the same `byovKey` in this label. Leaves nothing behind.

    Two records of one key that no row can have are created in one request: with the operator's constraint it is
    refused and nothing is stored, without it both are removed again, as are those of a run that was killed in between.
    They carry no batch, so nothing counts them as rows. Any doubt is a no: rows are then written in the slow way.
    budget_s: how long a request whose answer was lost may still be running.
    """
    remove_trials(wire, patience, label)
    is_unique = patience.retry(lambda: _refuses_a_pair(wire, patience, label, budget_s))
    if not is_unique:
        remove_trials(wire, patience, label)
    return is_unique


def remove_trials(wire: Wire, patience: Patience, label: str) -> None:
    """Remove what `keys_are_unique` of a run that was killed may have left."""
    patience.retry(lambda: _remove_trial(wire, label))


def _refuses_a_pair(wire: Wire, patience: Patience, label: str, budget_s: float) -> bool:
    trial = Outbound(UNIQUENESS_KEY, {"byovKey": UNIQUENESS_KEY})
    try:
        wire.create(label, [trial, trial])
    except RowRefused as error:
        return error.code == "http-400"
    except Ambiguous as error:
        patience.pause(f"{error}; waiting for the request to end before looking", budget_s)
        if not _trial(wire, label):
            raise Retriable(str(error)) from error
    return False


def _trial(wire: Wire, label: str) -> list[Stored]:
    return wire.find(label, TRIAL, limit=1000)[0]


def _remove_trial(wire: Wire, label: str) -> None:
    """Remove the trial records that are there. Raise Retriable when they are not gone."""
    found = _trial(wire, label)
    if not found:
        return
    with contextlib.suppress(Ambiguous):
        wire.delete(label, [record.record_id for record in found])
    if _trial(wire, label):
        raise Retriable(f"RushDB does not remove {len(found)} trial records of {label}")
