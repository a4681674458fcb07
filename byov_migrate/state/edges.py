"""What happens to links when records are written or removed: part of the journal's transactions, never one of its own.

An edge that may not stand in RushDB any more is loose: the next linking makes it again, which costs nothing when it is
there after all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select, update

from byov_migrate.records import Refs
from byov_migrate.state import schema
from byov_migrate.state.store import KEYS_A_QUERY, portions


def settle_refs(connection: Connection, table: str, refs: Mapping[str, Refs]) -> None:
    """The records of these keys were written with these refs: their edges are these, and loose."""
    links = _carried(connection, table)
    if not links:
        return
    _delete(connection, list(links.values()), list(refs))
    rows = [
        {"link": links[kind], "source_key": key, "target_key": target, "mark": "", "linked": False, "seen": 0}
        for key, item in refs.items()
        for kind, targets in item.items()
        if kind in links  # a batch of before may name a link that there is no more
        for target in targets
    ]
    if rows:
        connection.execute(insert(schema.edge), rows)


def _carried(connection: Connection, table: str) -> dict[str, int]:
    """Type -> number of the links whose edges are the records' own refs."""
    columns = schema.link.c
    query = select(columns.type, columns.id).where(columns.source_table == table, columns.carried)
    return {row.type: row.id for row in connection.execute(query)}


def _delete(connection: Connection, links: Sequence[int], keys: Sequence[str]) -> None:
    columns = schema.edge.c
    for some in portions(keys, KEYS_A_QUERY):
        connection.execute(delete(schema.edge).where(columns.link.in_(links), columns.source_key.in_(some)))


def loosen_around(connection: Connection, table: str, keys: Sequence[str]) -> None:
    """The records of these keys are new or gone: no link of the old ones stands."""
    columns, links = schema.edge.c, schema.link.c
    for end, side in ((links.source_table, columns.source_key), (links.target_table, columns.target_key)):
        numbers = list(connection.execute(select(links.id).where(end == table)).scalars())
        for some in portions(keys, KEYS_A_QUERY) if numbers else ():
            here = columns.link.in_(numbers) & side.in_(some) & columns.linked
            connection.execute(update(schema.edge).where(here).values(linked=False))


def forget_refs(connection: Connection, table: str, keys: Sequence[str]) -> None:
    """These records are gone: they lead nowhere, and what leads to them leads to nothing."""
    loosen_around(connection, table, keys)
    if links := _carried(connection, table):
        _delete(connection, list(links.values()), keys)


def refs_of(connection: Connection, table: str, keys: Sequence[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Key -> refs of these records as they were last written; records without any are absent."""
    columns = schema.edge.c
    types = {number: kind for kind, number in _carried(connection, table).items()}
    found: dict[str, dict[str, list[str]]] = {}
    for some in portions(keys, KEYS_A_QUERY) if types else ():
        query = select(columns.source_key, columns.link, columns.target_key).order_by(columns.target_key)
        query = query.where(columns.link.in_(list(types)), columns.source_key.in_(some))
        for key, link, target in connection.execute(query):
            found.setdefault(key, {}).setdefault(types[link], []).append(target)
    return {key: {kind: tuple(targets) for kind, targets in item.items()} for key, item in found.items()}
