"""One label of RushDB: whose it is, whether its indexes fit, what would make updates quick. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from byov_migrate.config import Config, EmbeddingConfig, Entry, TableConfig
from byov_migrate.errors import Refused
from byov_migrate.jobs.check.findings import Finding, Speaker
from byov_migrate.jobs.check.seen import Seen
from byov_migrate.jobs.rewriting import MOST_TEXTS_AGAIN, constraint_statement
from byov_migrate.jobs.table_work import index_gone
from byov_migrate.target.provision import MARKER_LABEL, OURS
from byov_migrate.target.wire import Index, Stored, Wire


def look_at_label(
    wire: Wire, config: Config, table: Entry, indexes: Sequence[Index], seen: Seen, speaker: Speaker
) -> Iterator[Finding]:
    """What a backfill would refuse, told before it. Nodes are never updated, so nothing would make that quicker."""
    yield _owner(wire, table, seen, speaker)
    for embedding in table.embeddings:
        yield from _index(table, embedding, indexes, seen, speaker)
    if table.distinct is None:
        yield _uniqueness(config, table, seen, speaker)


def _owner(wire: Wire, table: TableConfig, seen: Seen, speaker: Speaker) -> Finding:
    label, state = table.label, seen.state
    found, _ = wire.find(MARKER_LABEL, {"byovKey": label}, limit=100)
    known = state.records.get(table.name, 0) if state else 0
    if found:
        return _marked(min(found, key=lambda record: record.record_id), label, seen, speaker)
    if known:
        return speaker.fail("label-owner", _lost_marker(label, known))
    _, ours = wire.find(label, OURS, limit=1)
    if ours:
        what = f"RushDB holds {ours:,} records of {label} that byov-migrate wrote, and this state knows none of them"
        return speaker.fail("label-owner", Refused(what, next_step="use the state that wrote them, or another label"))
    _, others = wire.find(label, {}, limit=1)
    beside = f"; {others:,} records of others are in it, which are left alone" if others else ""
    return speaker.ok("label-owner", f"free: nobody has claimed it{beside}")


def _lost_marker(label: str, known: int) -> Refused:
    what = f"this state has written {known:,} records of {label}, and the project behind the key holds no marker of it"
    return Refused(what, next_step="use the key of the project that holds them")


def _marked(marker: Stored, label: str, seen: Seen, speaker: Speaker) -> Finding:
    owner = str(marker.properties.get("byovState"))
    if seen.state is None or owner != seen.state.state_id:
        mine = f"this one is {seen.state.state_id[:8]}" if seen.state else "there is no state here"
        what = f"{label} belongs to another state: its marker names {owner[:8]}, {mine}"
        fix = "use the state that wrote it (byov-migrate state restore FILE brings one back), or another label"
        return speaker.fail("label-owner", Refused(what, next_step=fix))
    stored = int(marker.properties.get("byovGeneration", 1))
    if stored > seen.state.generation:
        what = f"a later copy of this state has taken over {label} (generation {stored}); this one only reads"
        return speaker.fail("label-owner", Refused(what, next_step="use that copy"))
    return speaker.ok("label-owner", "ours: its marker names this state")


def _index(
    table: TableConfig, embedding: EmbeddingConfig, indexes: Sequence[Index], seen: Seen, speaker: Speaker
) -> Iterator[Finding]:
    name, dimension = embedding.carrier, _dimension(table, embedding, seen)
    if dimension is None:
        return  # told where the model or the column is looked at
    here = [index for index in indexes if (index.label, index.property_name) == (table.label, name)]
    held = seen.state.vectors.get((table.name, name), 0) if seen.state else 0
    if held and not here:
        yield speaker.fail("label-index", index_gone(table.label, embedding, held))
    elif not here:
        yield speaker.ok("label-index", f"no index on {name} yet: the first backfill makes it ({dimension} dimensions)")
    elif any((index.dimension, index.similarity) == (dimension, embedding.similarity) for index in here):
        yield speaker.ok("label-index", f"the index on {name} fits: {dimension} dimensions, {embedding.similarity}")
    else:
        other = f"{here[0].dimension} dimensions and {here[0].similarity}"
        what = f"the index on {name} has {other}; these vectors have {dimension} and {embedding.similarity}"
        fix = "give the embedding another property, or remove that index in RushDB"
        yield speaker.fail("label-index", Refused(what, next_step=fix))


def _dimension(table: TableConfig, embedding: EmbeddingConfig, seen: Seen) -> int | None:
    if embedding.vector is not None:
        return seen.dimensions.get((table.name, embedding.carrier))
    model = seen.models.get(embedding.model or "")
    return model.dimension if model else None


def _uniqueness(config: Config, table: TableConfig, seen: Seen, speaker: Speaker) -> Finding:
    """It cannot be told without a write, so it is a warning only where it matters."""
    statement = f"for quicker updates ask RushDB's operator to run: {constraint_statement(table.label)}"
    unknown = "whether RushDB refuses a second record of one key cannot be told without writing"
    embeds = any(item.vector is None for item in table.embeddings)
    many = seen.rows.get(table.name, 0) > MOST_TEXTS_AGAIN
    if embeds and many and not config.state.vectors:
        what = f"{unknown}; without it more than {MOST_TEXTS_AGAIN:,} changes of other columns at once end with code 6"
        return speaker.warn("label-unique", what, statement)
    return speaker.ok("label-unique", f"{unknown}; it makes updates quicker", statement)
