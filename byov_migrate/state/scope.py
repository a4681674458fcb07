"""What a state belongs to, field by field, and what a change of each field means.

    apply           only what changed has to be written
    re-embed        texts have to be embedded again
    re-identify     the same migration at another place: a person has to say so
    another         another migration altogether: refused

Settings of the class *free* are not among the fields: they may change at any time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import Connection, delete, select

from byov_migrate.config import EmbeddingConfig, LinkConfig, TableConfig
from byov_migrate.errors import Refused
from byov_migrate.filters import Filter
from byov_migrate.state import schema
from byov_migrate.state.store import Store, replacing

ChangeClass: TypeAlias = Literal["apply", "re-embed", "re-identify", "another"]

_TABLE_FIELDS: Mapping[str, ChangeClass] = {
    "columns": "apply",
    "rename": "apply",
    "types": "apply",
    "where": "apply",
    "deleted_when": "apply",
    "label": "another",
    "key": "another",
    "hash_key_values": "another",
    "links": "apply",
    "schema": "re-identify",
}
_EMBEDDING_FIELDS: Mapping[str, ChangeClass] = {
    "send_text": "apply",
    "empty_text": "apply",
    "spare": "apply",
    "text": "re-embed",
    "vector": "re-embed",
    "fingerprint": "re-embed",
    "similarity": "another",
}
_PLACE_FIELDS: Mapping[str, ChangeClass] = {
    "source.system": "re-identify",
    "source.database": "re-identify",
    "target.project": "re-identify",
    "hash_key": "another",
}
_SOURCE_FIELDS = ("source.system", "source.database")
"""With the types of columns: what a person may accept as it is now, with a full pass over every row."""
ACCEPT_SOURCE = "byov-migrate sync --full --accept source"
ACCEPT_TARGET = "byov-migrate sync --full --accept target"
APPLY = "byov-migrate backfill --apply"
REEMBED = "byov-migrate reembed"
_APPLYING = "applying"
"""A field of a table, there while an apply is under way: what the records may still hold."""
_REFILLED = re.compile(r"embeddings\[(.+)\]\.index")
_ADVICE: Mapping[ChangeClass, str] = {
    "apply": "what is stored was written with the old value",
    "re-embed": "the stored vectors were made with the old value; one index must not hold two vector spaces",
    "re-identify": "this state belongs to the other place",
    "another": "this would be another migration; give it a state and a label of its own",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not what it was when the state was written."""

    field: str
    change: ChangeClass
    old: Any
    new: Any

    def __str__(self) -> str:
        table, in_schema, column = self.field.partition("].schema.")
        if in_schema:
            name = f"{table.removeprefix('tables[')}.{column}"
            return f"column {name} is now {_shown(self.new)}, was {_shown(self.old)}: rows were read as the old type"
        return f"{self.field} is now {_shown(self.new)}, was {_shown(self.old)}: {_ADVICE[self.change]}"


@dataclass(frozen=True, slots=True)
class Applying:
    """A change of settings that is written to the records of a table, until none is left that was written before.

    fields: what changed. gone: properties that records may still hold and must not. links: names of links to be removed
    and made anew.
    """

    fields: tuple[str, ...]
    gone: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()

    @property
    def looks(self) -> bool:
        """Whether records have to be looked at: what changed is in no hash that the ledger keeps."""
        return bool(self.gone) or any(field.endswith((".send_text", ".spare")) for field in self.fields)

    @property
    def refilled(self) -> tuple[str, ...]:
        """Properties whose vectors went with their index."""
        found = (_REFILLED.fullmatch(field) for field in self.fields)
        return tuple(match[1] for match in found if match)

    @classmethod
    def refilling(cls, property_name: str) -> Applying:
        """No setting is another, but every record lacks the vector under a property."""
        return cls((f"embeddings[{property_name}].index",))

    def after(self, earlier: Applying | None, names: Iterable[str]) -> Applying:
        """This change on top of one that was never finished. names: the properties that records have from now on."""
        if earlier is None:
            return self
        fields = tuple(dict.fromkeys((*earlier.fields, *self.fields)))
        return Applying(fields, (self.gone | earlier.gone) - set(names), self.links | earlier.links)

    def stored(self) -> dict[str, list[str]]:
        """As JSON."""
        return {"fields": list(self.fields), "gone": sorted(self.gone), "links": sorted(self.links)}


def next_step(differences: Sequence[Difference]) -> str:
    """What resolves these differences: a command where there is one."""
    classes = {difference.change for difference in differences}
    if "another" in classes:
        return "put the old values back, or give the new ones a state and a label of their own"
    if "re-embed" in classes:
        return f"{REEMBED}, which makes the new vectors beside the old ones; or put the old values back"
    if classes == {"apply"}:
        return f"{APPLY}, after byov-migrate plan, which shows what it would do"
    if not all(map(_is_of_source, (item for item in differences if item.change == "re-identify"))):
        return f"use the key of the project that holds the records; if that was moved: {ACCEPT_TARGET}"
    if "apply" in classes:
        return f"{ACCEPT_SOURCE} with the old settings, then {APPLY} with the new ones"
    return ACCEPT_SOURCE


def _shown(value: Any) -> str:
    """A template of several lines on one."""
    if isinstance(value, str) and "\n" in value:
        return json.dumps(value, ensure_ascii=False)
    return "absent" if value is None else f"{value}"


def table_fields(
    table: TableConfig,
    key: Sequence[str],
    fingerprints: Mapping[str, str],
    schema_: Mapping[str, str] | None = None,
    links: Sequence[LinkConfig] = (),
) -> dict[str, Any]:
    """The scope of one table.

    key: as found. fingerprints: the models', by carrier. schema_: what each column in use is. links: those
    that lead from here.
    """
    fields: dict[str, Any] = {
        "columns": list(table.columns),
        "rename": dict(table.rename),
        "types": dict(table.types),
        "where": [_filter_parts(item) for item in table.where],
        "deleted_when": _filter_parts(table.deleted_when) if table.deleted_when else None,
        "label": table.label,
        "key": list(key),
        "hash_key_values": table.hash_key_values,
        "schema": dict(schema_ or {}),
    }
    if links:
        fields["links"] = [link.model_dump(mode="json", exclude_defaults=True) for link in links]
    named = {f"tables[{table.name}].{name}": value for name, value in fields.items()}
    for embedding in table.embeddings:
        named |= embedding_fields(table.name, embedding, fingerprints.get(embedding.carrier))
    return named


def embedding_fields(table: str, embedding: EmbeddingConfig, fingerprint: str | None) -> dict[str, Any]:
    """The scope of one embedding under one carrier."""
    fields = {
        "send_text": embedding.send_text,
        "empty_text": embedding.empty_text,
        "spare": embedding.spare and embedding.carrier == embedding.property_name,
        "text": embedding.text.source if embedding.text and not embedding.vector else None,
        "vector": embedding.vector,
        "fingerprint": fingerprint if not embedding.vector else None,
        "similarity": embedding.similarity,
    }
    return {f"{carrier_prefix(table, embedding.carrier)}{name}": value for name, value in fields.items()}


def carrier_prefix(table: str, carrier: str) -> str:
    """How the fields of a carrier begin."""
    return f"tables[{table}].embeddings[{carrier}]."


def _filter_parts(item: Filter) -> list[str]:
    """Apart, not joined: `in (a b)` and `in (a, b)` are two filters."""
    return [item.name, item.operator, *item.values]


def change_class(field: str) -> ChangeClass:
    """The class of a stored field."""
    if field in _PLACE_FIELDS:
        return _PLACE_FIELDS[field]
    name = field.rpartition(".")[2]
    return (_EMBEDDING_FIELDS if ".embeddings[" in field else _TABLE_FIELDS)[name]


def compare(stored: Mapping[str, Any], current: Mapping[str, Any]) -> list[Difference]:
    """Every field that differs, among the fields of `current` and of the tables `current` speaks of."""
    tables = _tables(current)
    stored = {field: value for field, value in stored.items() if not field.endswith(f"].{_APPLYING}")}
    fields = [field for field in stored if field in current or field.partition("].")[0] in tables]
    fields += [field for field in current if field not in stored and field.partition("].")[0] in _tables(stored)]
    differing = [field for field in fields if stored.get(field) != current.get(field)]
    return [
        difference
        for field in differing
        for difference in (
            _columns_between(field, stored.get(field) or {}, current.get(field) or {})
            if field.endswith("].schema")
            else [Difference(field, _class_between(field, stored, current), stored.get(field), current.get(field))]
        )
    ]


def _columns_between(field: str, stored: Mapping[str, str], current: Mapping[str, str]) -> list[Difference]:
    """Columns that are used now as before and are not what they were; others come and go with other settings."""
    return [
        Difference(f"{field}.{column}", "re-identify", was, current[column])
        for column, was in stored.items()
        if column in current and current[column] != was
    ]


def _class_between(field: str, stored: Mapping[str, Any], current: Mapping[str, Any]) -> ChangeClass:
    """A new embedding only has to be written; one that is gone or renamed leaves an index nobody keeps current."""
    if ".embeddings[" in field and field not in stored:
        return "apply"
    return "another" if ".embeddings[" in field and field not in current else change_class(field)


def _tables(fields: Mapping[str, Any]) -> set[str]:
    return {field.partition("].")[0] for field in fields if field.startswith("tables[")}


def _is_of_source(difference: Difference) -> bool:
    return difference.field in _SOURCE_FIELDS or "].schema." in difference.field


def require_none(differences: Sequence[Difference]) -> None:
    """Raise Refused, naming every difference and what resolves them."""
    if differences:
        lines = "\n  ".join(str(item) for item in differences)
        message = f"the state was written with other settings; nothing was written\n  {lines}"
        raise Refused(message, next_step=next_step(differences))


class Scope:
    """The stored fields."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def fields(self) -> dict[str, Any]:
        """The fields this state belongs to; empty for a new one."""
        with self._store.reading() as connection:
            return {row.field: row.value for row in connection.execute(select(schema.scope))}

    def require(self, current: Mapping[str, Any]) -> None:
        """Raise Refused, naming every field that differs and both values. Writes nothing."""
        require_none(compare(self.fields(), current))

    def reidentify(self, current: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Take these values for fields that stand for a place; return what changed, old and new."""
        stored = self.fields()
        changed = {field: (stored.get(field), value) for field, value in current.items() if stored.get(field) != value}
        with self._store.writing() as connection:
            for field, (_, value) in changed.items():
                connection.execute(replacing(schema.scope).values(field=field, value=value))
        return changed

    def adopt(self, current: Mapping[str, Any]) -> None:
        """Require what is stored, then store the fields that are new."""
        self.require(current)
        known = self.fields()
        with self._store.writing() as connection:
            for field, value in current.items():
                if field not in known:
                    connection.execute(replacing(schema.scope).values(field=field, value=value))

    def applying(self, table: str) -> Applying | None:
        """The change of a table's settings that is under way; None without one."""
        with self._store.reading() as connection:
            return _applying(connection, table)

    def begin_apply(self, current: Mapping[str, Any], changes: Mapping[str, Applying]) -> None:
        """Take these values for the fields of the changed tables, and remember that their records lag behind, at once.

        current: all fields of these tables, others are dropped. changes: by table.
        """
        begun = [f"tables[{table}]" for table in changes]
        with self._store.writing() as connection:
            fields = list(connection.execute(select(schema.scope.c.field)).scalars())
            for field in fields:
                if field.partition("].")[0] + "]" in begun:
                    connection.execute(delete(schema.scope).where(schema.scope.c.field == field))
            values = {field: value for field, value in current.items() if field.partition("].")[0] + "]" in begun}
            values |= {_applying_field(table): change.stored() for table, change in changes.items()}
            for field, value in values.items():
                connection.execute(replacing(schema.scope).values(field=field, value=value))

    def links_made_anew(self, table: str) -> None:
        """The links that had to be removed are gone."""
        found = self.applying(table)
        if found is not None and found.links:
            value = Applying(found.fields, found.gone).stored()
            with self._store.writing() as connection:
                connection.execute(replacing(schema.scope).values(field=_applying_field(table), value=value))

    def end_apply(self, table: str) -> None:
        """Every record of a table is as the settings say."""
        with self._store.writing() as connection:
            connection.execute(delete(schema.scope).where(schema.scope.c.field == _applying_field(table)))


def add_applying(connection: Connection, table: str, change: Applying) -> None:
    """A change of a table on top of the one under way, if there is one."""
    change = change.after(_applying(connection, table), ())
    connection.execute(replacing(schema.scope).values(field=_applying_field(table), value=change.stored()))


def _applying(connection: Connection, table: str) -> Applying | None:
    field = schema.scope.c.field == _applying_field(table)
    found = connection.execute(select(schema.scope.c.value).where(field)).scalar_one_or_none()
    if found is None:
        return None
    return Applying(tuple(found["fields"]), frozenset(found["gone"]), frozenset(found["links"]))


def _applying_field(table: str) -> str:
    return f"tables[{table}].{_APPLYING}"
