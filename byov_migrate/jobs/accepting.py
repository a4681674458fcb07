"""The same migration, and an end is not as it was: a person has said so, and it is told what was before.

source   database and types of columns are taken as they are now; every row is compared afterwards
target   the project is, if it holds our markers, and the known records under their ids
index    one that was deleted is made again; every run fills it until no vector is missing
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from byov_migrate.config import TableConfig
from byov_migrate.errors import Refused
from byov_migrate.jobs.embedding import EmbeddingPlan
from byov_migrate.jobs.opening import Ends
from byov_migrate.jobs.table_work import gone_indexes
from byov_migrate.source import TableReader
from byov_migrate.target import provision

SAMPLE = 500
SHARE_FOUND = 0.5
"""Of the sampled records: some may have been deleted; after an import into another project none has its id."""


def accept_source(ends: Ends, table: TableConfig, reader: TableReader) -> None:
    """Take the source as it is now."""
    fields = {
        "source.system": ends.system,
        "source.database": ends.source_identity.database,
        f"tables[{table.name}].schema": dict(reader.shape.signatures),
    }
    _take(ends, fields)


def accept_target(ends: Ends, table: TableConfig, project: str | None) -> None:
    """Take the project behind the key, if it is the old one at another place.

    project: its id, None where it has no index that tells. Raise Refused, with nothing written, when the label's marker
    is not this state's, or when the records are not those that the state knows.
    """
    marker = provision.marker_of(ends.wire, ends.patience, table.label)
    if project is None or marker is None or marker.state != ends.state.runs.state_id:
        raise Refused(
            f"the project behind the key does not hold the records of {table.label} that this state wrote; nothing"
            " written",
            next_step="use the key of the project that does",
        )
    known = ends.state.ledger.some_ids(table.name, SAMPLE)
    here = {"$id": {"$in": known}}  # RushDB refuses an empty list
    found = ends.patience.retry(lambda: ends.wire.find(table.label, here, limit=len(known)))[0] if known else []
    if len(found) < SHARE_FOUND * len(known):
        raise Refused(
            f"of {len(known):,} records of {table.label} that this state knows {len(found):,} are there under their"
            " ids: they were imported anew, not moved; nothing written",
            next_step=f"move {ends.config.state_path.name} away, keep the hash key, then byov-migrate adopt",
        )
    _take(ends, {"target.project": project})


def accept_index(ends: Ends, table: TableConfig, plans: Sequence[EmbeddingPlan]) -> list[str]:
    """Mark a table as lacking the vectors of an index that is gone; return the properties. The label has to be ours.

    One that no search uses yet is left: it is given up instead.
    """
    gone = list(gone_indexes(ends.wire, ends.patience, ends.state, table, plans))
    accepted = [(embedding.carrier, vectors) for embedding, vectors in gone if embedding.role.live]
    for name, vectors in accepted:
        ends.state.carriers.begin_refill(table.name, name)
        ends.note("index-gone", index=f"{table.label}.{name}", vectors=vectors)
    return [name for name, _ in accepted]


def _take(ends: Ends, fields: dict[str, Any]) -> None:
    for field, (old, new) in ends.state.scope.reidentify(fields).items():
        ends.note("accepted", field=field, old=old, new=new)
