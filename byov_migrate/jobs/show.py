"""One record: what RushDB holds of it, and where that differs from PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from byov_migrate.config import Config, Entry, TableConfig
from byov_migrate.errors import ConfigurationError
from byov_migrate.jobs.reading import Reading, reading
from byov_migrate.jobs.search import has_vector
from byov_migrate.jobs.surroundings import Surroundings
from byov_migrate.records import Outgoing, Rejected, Row
from byov_migrate.target.wire import Stored

SHOWN_LINKS = 10


@dataclass(frozen=True, slots=True)
class RecordView:
    """What is known of one key. `differences`: property -> what differs, without values."""

    table: str
    label: str
    key: str
    record_ids: tuple[str, ...]  # more than one: the record is doubled
    properties: Mapping[str, Any]
    vectors: Mapping[str, bool]
    links: Mapping[str, tuple[str, ...]]  # by name: keys of the records that it leads to, or that lead to it
    in_source: bool
    reject: str | None
    differences: Mapping[str, str]


def show(config: Config, key: str, *, table: str | None = None, surroundings: Surroundings | None = None) -> RecordView:
    """Look one record up by its canonical key. Raise ConfigurationError when neither end knows the key."""
    around = surroundings or Surroundings()
    name = config.table(table).name if table else config.entries[0].name
    with reading(config, around) as ends:
        entry = ends.config.table(name)
        records, _ = ends.patience.retry(lambda: ends.wire.find(entry.label, {"byovKey": key}, limit=10))
        row = _row(ends, entry, key)
        reject = _reject_of(ends, entry, key)
        if not records and row is None and reject is None:
            raise ConfigurationError(f"no row and no record of {entry.name} has this key")
        return _view(ends, entry, key, records, row, reject)


def _row(ends: Reading, table: TableConfig, key: str) -> Row | Rejected | None:
    reader = ends.reader(table)
    position = reader.position_of(key)
    return next(iter(reader.rows([position])), None) if position is not None else None


def _reject_of(ends: Reading, table: TableConfig, key: str) -> str | None:
    for item in ends.state.ledger.rejects(table.name):
        if item["key"] == key:
            column = f" in column {item['column']}" if item["column"] else ""
            return f"{item['code']}{column}: {item['reason']}"
    return None


def _view(
    ends: Reading, table: Entry, key: str, records: list[Stored], row: Row | Rejected | None, reject: str | None
) -> RecordView:
    properties = records[0].properties if records else {}
    here = [index for index in ends.patience.retry(ends.wire.indexes) if index.label == table.label]
    return RecordView(
        table=table.name,
        label=table.label,
        key=key,
        record_ids=tuple(record.record_id for record in records),
        properties=properties,
        links=_links(ends, table, records),
        vectors={index.property_name: has_vector(ends, index, key, ends.digests) for index in here},
        in_source=row is not None,
        reject=reject,
        differences=_differences(row.properties, properties) if isinstance(row, Row) and records else {},
    )


def _links(ends: Reading, table: Entry, records: list[Stored]) -> dict[str, tuple[str, ...]]:
    """The first keys of each link from here and to here, and how many more there are."""
    found = {}
    for link in ends.links if records else ():
        source, target, here = link.source.entry.label, link.target.entry.label, [records[0].record_id]
        if source == table.label:
            where = {source: {"$id": {"$in": here}, "$relation": {"type": link.type, "direction": "in"}}}
            found[f"{link.type} to {target}"] = _keys(ends, target, where)
        if target == table.label:
            where = {target: {"$id": {"$in": here}, "$relation": {"type": link.type, "direction": "out"}}}
            found[f"{link.type} from {source}"] = _keys(ends, source, where)
    return found


def _keys(ends: Reading, label: str, where: Mapping[str, Any]) -> tuple[str, ...]:
    records, total = ends.patience.retry(lambda: ends.wire.find(label, where, limit=SHOWN_LINKS))
    more = [f"and {total - len(records):,} more"] if total > len(records) else []
    return (*sorted(record.key for record in records), *more)


def _differences(source: Mapping[str, Outgoing], target: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name, value in source.items():
        if name not in target:
            found[name] = "missing in RushDB"
        elif target[name] != value:
            found[name] = "differs"
    return found
