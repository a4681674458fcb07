"""What a name in `--where` means: a column or property of the label searched, or `Label.property` across links."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from byov_migrate.config import Config, TableConfig
from byov_migrate.errors import ConfigurationError
from byov_migrate.filters import Filter
from byov_migrate.jobs.documents import leaving, staying
from byov_migrate.target.where import Path, to_where

OURS = ("byovKey", "byovHash", "byovBatch", "byovSlice")
_SHOWN = 40


def conditions(config: Config, table: TableConfig, filters: Sequence[Filter]) -> dict[str, Any]:
    """The filters as a RushDB `where`. Raise ConfigurationError for a name that is not known or cannot be compared."""
    names = Names(config, table)
    return to_where(filters, names.path)


class Names:
    """The names that the configuration gives to properties and labels."""

    def __init__(self, config: Config, table: TableConfig) -> None:
        self._table = table
        self._tables = {entry.label: entry for entry in config.tables}
        references = [f"byovRef_{link.type}" for link in config.links]
        self._properties: dict[str, Mapping[str, str]] = {
            node.label: {**_same((*OURS, node.property_name, *references)), node.column: node.property_name}
            for node in config.nodes
        }
        for entry in config.tables:
            self._properties[entry.label] = _names_of(entry, references)

    def path(self, item: Filter) -> Path:
        """Labels to go across, then the property. A column's name becomes the name it has in RushDB."""
        own = self._properties[self._table.label]
        if item.name in own or "." not in item.name:
            return (self._property(self._table.label, item.name, item),)
        labels, name = self._labels_in(item.name)
        return (*labels, self._property(labels[-1], name, item))

    def _labels_in(self, name: str) -> tuple[list[str], str]:
        """Labels hold no dot, columns may."""
        labels: list[str] = []
        while not labels or ("." in name and name not in self._properties[labels[-1]]):
            label, _, rest = name.partition(".")
            if label not in self._properties:
                if labels:
                    break
                raise _unknown("label", label, list(self._properties), "")
            labels.append(label)
            name = rest
        return labels, name

    def _property(self, label: str, name: str, item: Filter) -> str:
        known = self._properties[label]
        if name not in known:
            raise self._no_property(label, name)
        self._require_content(label, known[name], item)
        return known[name]

    def _no_property(self, label: str, name: str) -> ConfigurationError:
        table = self._tables.get(label)
        if table is not None and name in staying(table):
            return ConfigurationError(f"--where: column {name} of {table.name} stays here, so RushDB cannot compare it")
        names = [known for known in dict.fromkeys(self._properties[label].values()) if known not in OURS]
        return _unknown("property", name, names, f" of {label}")

    def _require_content(self, label: str, name: str, item: Filter) -> None:
        """A property that only carries a vector is empty: it compares with nothing."""
        table = self._tables.get(label)
        if table is None or item.operator in ("is null", "is not null"):
            return
        carriers = [one.property_name for one in table.embeddings if not one.send_text]
        carriers += [one.spare_property for one in table.embeddings if one.spare]
        if name in carriers:
            raise ConfigurationError(
                f"--where: {label}.{name} is empty in RushDB and only carries the vector; its text stays here"
            )


def _names_of(table: TableConfig, references: Iterable[str]) -> dict[str, str]:
    """Every name that means a property of a table's records. A column's own name comes before another's new name."""
    sent = _same(item.property_name for item in leaving(table))
    added = _same((*table.keep_properties, *references))
    return {**added, **sent, **{column: table.outgoing_name(column) for column in table.columns}}


def _same(names: Iterable[str]) -> dict[str, str]:
    return {name: name for name in names}


def _unknown(kind: str, name: str, known: Sequence[str], of: str) -> ConfigurationError:
    close = difflib.get_close_matches(name, known, 1, 0.6)
    meant = f'did you mean "{close[0]}"? ' if close else ""
    there = ", ".join(sorted(known)[:_SHOWN]) or "none"
    hint = "; what an application adds is named in keep_properties" if kind == "property" else ""
    return ConfigurationError(f"--where: no {kind} {name!r}{of} is known; {meant}there are: {there}{hint}")
