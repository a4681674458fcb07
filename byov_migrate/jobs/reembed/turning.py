"""Which of two sets of vectors searches use, and the end of the other one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from byov_migrate.config import Config
from byov_migrate.errors import ConfigurationError, ConsentNeeded, Refused
from byov_migrate.jobs.carriers import making_of
from byov_migrate.jobs.opening import TargetSide, opened_target, written_state
from byov_migrate.jobs.reembed.choosing import Meant, meant, newest
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.state import State
from byov_migrate.state.carriers import Carrier, live_one
from byov_migrate.state.scope import REEMBED
from byov_migrate.target import provision
from byov_migrate.target.wire import Index

DROP = "reembed drop"


@dataclass(frozen=True, slots=True)
class Switched:
    """What searches of one embedding use now, and what they used before; the same where nothing was to be done.

    is_newer: of the two sets of vectors, those that were made last.
    """

    table: str
    label: str
    embedding: str
    carrier: str
    model: str
    before: str
    before_model: str
    is_newer: bool


@dataclass(frozen=True, slots=True)
class SwitchResult:
    """One result an embedding."""

    embeddings: tuple[Switched, ...]


def switch(
    config: Config,
    *,
    back: bool = False,
    table: str | None = None,
    embedding: str | None = None,
    surroundings: Surroundings | None = None,
) -> SwitchResult:
    """Let `search` and `QueryEncoder` use the newer vectors, or with `back` the older ones, from now on.

    Nothing at the target changes. Raise Refused when there are not two sets, or the newer one is not complete.
    """
    around = surroundings or Surroundings()
    chosen = meant(config, table, embedding)
    with written_state(config, "reembed switch", around) as state:
        found = [(one, pair) for one in chosen if len(pair := state.carriers.of(*one.names)) > 1]
        if not found:
            raise Refused("there is no second set of vectors to switch to", next_step=f"{REEMBED} --model NAME")
        for one, pair in found:
            if not newest(pair).complete:
                raise Refused(
                    f"{one} is not filled with the vectors of {newest(pair).making.name} yet", next_step=REEMBED
                )
        result = SwitchResult(tuple(_switch(state, one, pair, back=back) for one, pair in found))
        state.runs.end_run(0, {})
    return result


def _switch(state: State, one: Meant, pair: Sequence[Carrier], *, back: bool) -> Switched:
    before, wanted = live_one(list(pair)), pair[0] if back else pair[-1]
    if wanted.property_name != before.property_name:
        state.carriers.switch(*one.names, wanted.property_name)
        state.runs.note("switched", table=one.table.name, to=wanted.property_name, model=wanted.making.name)
    names = (one.table.name, one.table.label, one.embedding.property_name)
    told = (wanted.property_name, wanted.making.name, before.property_name, before.making.name)
    return Switched(*names, *told, is_newer=not back)


@dataclass(frozen=True, slots=True)
class Vectors:
    """What a drop removes. vectors: as the state knows them; kept: the property that searches use."""

    table: str
    label: str
    property_name: str
    model: str
    vectors: int
    kept: str
    kept_model: str


@dataclass(frozen=True, slots=True)
class DropResult:
    """What was removed, an embedding each."""

    embeddings: tuple[Vectors, ...]


Ask = Callable[[Vectors], str | None]
"""Shows what would be removed and returns what a person typed; None when there is nobody to ask."""


def _nobody(_vectors: Vectors) -> None:
    return None


def drop(
    config: Config,
    *,
    table: str | None = None,
    embedding: str | None = None,
    agreed: Sequence[str] = (),
    ask: Ask = _nobody,
    surroundings: Surroundings | None = None,
) -> DropResult:
    """Remove the vectors that searches do not use, with their index; the property is spare again.

    No record is written. agreed: properties that were consented to. ask: for the others. Raise ConsentNeeded when
    nobody answers, Refused when there is nothing to drop or the configuration does not make the vectors that stay.
    """
    around = surroundings or Surroundings()
    chosen = meant(config, table, embedding)
    with opened_target(config, DROP, around) as ends:
        found = [(one, leaving) for one in chosen if (leaving := _leaving(ends.state, one))]
        if not found:
            raise Refused("there is no second set of vectors to drop")
        _require_properties([leaving for _, leaving in found], agreed)
        for one, leaving in found:
            _require_kept_configured(config, ends.state, one, leaving)
            _require_settled(ends.state, one)
        for one, leaving in found:
            _require_consent(_vectors(ends.state, one, leaving), agreed, ask)
        result = DropResult(tuple(_drop(ends, one, leaving) for one, leaving in found))
        ends.state.runs.end_run(0, {})
    return result


def _leaving(state: State, one: Meant) -> Carrier | None:
    """The carrier that searches do not use."""
    carriers = state.carriers.all_of(*one.names)
    return next((item for item in carriers if not item.live), None)


def _require_properties(leaving: Sequence[Carrier], agreed: Sequence[str]) -> None:
    names = [item.property_name for item in leaving]
    for name in agreed:
        if name not in names:
            raise ConfigurationError(f"--yes {name}: to be dropped is {', '.join(names)}; nothing was removed")


def _require_kept_configured(config: Config, state: State, one: Meant, leaving: Carrier) -> None:
    """The file is all there is to say how the vectors that stay are made."""
    live = live_one(state.carriers.all_of(*one.names))
    if not making_of(config, one.embedding).makes_the_same_as(live.making):
        raise Refused(
            f"the configuration of {one} makes the vectors under {leaving.property_name}, and searches use those under"
            f" {live.property_name}",
            next_step=f"let it say how those were made, by {live.making.name}; or {_way_to(state, one, leaving)}",
        )


def _way_to(state: State, one: Meant, carrier: Carrier) -> str:
    """The command after which searches use this carrier."""
    is_newest = newest(state.carriers.of(*one.names)).property_name == carrier.property_name
    return "byov-migrate reembed switch" if is_newest else "byov-migrate reembed switch --back"


def _require_settled(state: State, one: Meant) -> None:
    """Batches that a killed run left may hold vectors of both."""
    if state.journal.intents(one.table.name):
        raise Refused(f"an earlier run left batches of {one.table.name} unsettled", next_step="byov-migrate sync")


def _vectors(state: State, one: Meant, leaving: Carrier) -> Vectors:
    live = live_one(state.carriers.all_of(*one.names))
    count = state.ledger.count_vectors(one.table.name, leaving.property_name)
    named = (leaving.property_name, leaving.making.name, count, live.property_name, live.making.name)
    return Vectors(one.table.name, one.table.label, *named)


def _require_consent(vectors: Vectors, agreed: Sequence[str], ask: Ask) -> None:
    name = vectors.property_name
    answer = name if name in agreed else ask(vectors)
    if answer == name:
        return
    if answer is not None:
        raise ConfigurationError(f"that is not the property {name}; nothing was removed")
    raise ConsentNeeded(
        f"{vectors.vectors:,} vectors of {vectors.label}.{name} would be removed; nothing was removed",
        next_step=f"byov-migrate {DROP} --yes {name}",
    )


def _drop(ends: TargetSide, one: Meant, leaving: Carrier) -> Vectors:
    """The state first: whatever happens then, nobody keeps current what is going."""
    told = _vectors(ends.state, one, leaving)
    if not leaving.leaving:
        ends.state.carriers.begin_drop(one.table.name, leaving.property_name)
    for index in _indexes(ends, one, leaving):
        ends.patience.retry(partial(provision.delete_index, ends.wire, index))
    ends.state.carriers.end_drop(one.table.name, leaving)
    ends.note("dropped", table=one.table.name, property=leaving.property_name, vectors=told.vectors)
    return told


def _indexes(ends: TargetSide, one: Meant, leaving: Carrier) -> list[Index]:
    """The carrier's index. The property was ours and spare, so nobody else has one there."""
    place = (one.table.label, leaving.property_name)
    return [index for index in ends.patience.retry(ends.wire.indexes) if (index.label, index.property_name) == place]
