"""A second set of vectors made possible: what stands in the way is said first, then come the index and the state."""

from __future__ import annotations

from functools import partial

from byov_migrate.errors import ConfigurationError, Refused
from byov_migrate.jobs.carriers import embedding_of, fingerprint_of, remembered_model
from byov_migrate.jobs.opening import Ends
from byov_migrate.jobs.reembed.choosing import Meant, newest
from byov_migrate.jobs.sync_start import where_it_begins
from byov_migrate.jobs.table_work import Models
from byov_migrate.state.carriers import Carrier, Making, live_one
from byov_migrate.state.scope import APPLY, REEMBED, embedding_fields
from byov_migrate.target import provision

DROP = "byov-migrate reembed drop"


def require_possible(ends: Ends, one: Meant, made: Making, carriers: list[Carrier]) -> None:
    """Raise Refused when there are other vectors already, or the records cannot carry these."""
    live = live_one(carriers)
    if len(carriers) > 1:
        if not made.makes_the_same_as(newest(carriers).making):
            held = " and ".join(f"{item.property_name} by {item.making.name}" for item in carriers)
            raise Refused(f"{one} has two sets of vectors already: {held}", next_step=DROP)
        return
    if made.makes_the_same_as(live.making):
        raise Refused(f"the vectors of {one} are made by {live.making.name} already; there is nothing to embed anew")
    _require_ready(ends, one, live, made)


def begin(ends: Ends, one: Meant, made: Making, carriers: list[Carrier]) -> None:
    """Make the index and let the state know of it, unless that was done before."""
    if len(carriers) > 1:
        return
    live = live_one(carriers)
    spare = (
        one.embedding.spare_property
        if live.property_name == one.embedding.property_name
        else one.embedding.property_name
    )
    carrier = Carrier(one.embedding.property_name, spare, made, live=False, complete=False, marked=False)
    item = embedding_of(one.embedding, carrier, made.model, is_configured=False)
    _make_index(ends, one, spare, _dimension(ends, one, made))
    fields = embedding_fields(one.table.name, item, made.fingerprint)
    ends.state.carriers.begin(one.table.name, carrier, fields)
    ends.note("reembed", table=one.table.name, live=live.property_name, beside=spare, model=made.name)


def _require_ready(ends: Ends, one: Meant, live: Carrier, made: Making) -> None:
    """Raise Refused when the records do not have the property yet, or when their text would have to change."""
    where_it_begins(ends.state, one.table.name)
    if live.making.vector is None and not _is_configured(ends, live):
        remembered_model(live)
    if ends.state.scope.applying(one.table.name):
        raise Refused(f"the records of {one.table.label} lag behind changed settings", next_step=APPLY)
    stored = ends.state.scope.fields()
    has_spare = stored.get(f"tables[{one.table.name}].embeddings[{one.embedding.property_name}].spare", True)
    if not (one.embedding.spare and has_spare):
        raise Refused(
            f"the records of {one.table.label} have no property {one.embedding.spare_property} that could carry other"
            " vectors",
            next_step=f"with the old settings and spare = true {APPLY}; then {REEMBED} with the new ones",
        )
    if one.embedding.send_text and made.text != live.making.text:
        raise Refused(
            f"{one} is sent as text too, and the records hold the text of the old template",
            next_step="give the new text an embedding with a property of its own",
        )


def _is_configured(ends: Ends, carrier: Carrier) -> bool:
    """Whether the model of a carrier is, under its name, one of the configuration."""
    model = ends.config.models.get(carrier.making.model or "")
    return model is not None and fingerprint_of(model) == carrier.making.fingerprint


def _dimension(ends: Ends, one: Meant, made: Making) -> int:
    if made.vector is None:
        return Models(ends.config, ends.around.log).identity(made.model or "").dimension
    alone = one.table.model_copy(update={"embeddings": (one.embedding,)})
    [found] = ends.reader(alone, {}).dimensions
    if found is None:
        raise ConfigurationError(f"{one.table.name}.{made.vector} holds no vector, so their dimension is unknown")
    return found


def _make_index(ends: Ends, one: Meant, carrier: str, dimension: int) -> None:
    """An index without a vector; after a drop the server may take a while to remove what it held.

    One that is there belongs to a state that was lost: the property is ours, and nobody knows what made its vectors.
    """
    place = (one.table.label, carrier)
    for index in ends.patience.retry(ends.wire.indexes):
        if (index.label, index.property_name) != place:
            continue
        if index.dimension != dimension or ends.patience.retry(partial(ends.wire.count_vectors, index)):
            ends.note("index-removed", table=one.table.name, property=carrier, because="a lost state left it")
            ends.patience.retry(partial(provision.delete_index, ends.wire, index))
    [index] = provision.ensure_indexes(ends.wire, ends.patience, one.table.label, {carrier: dimension})
    ends.patience.retry(partial(provision.require_empty, ends.wire, index))
