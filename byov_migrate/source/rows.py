"""One row as selected -> `Row`, or `Rejected` with the first thing that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, Literal, TypeAlias

from psycopg import sql

from byov_migrate.config import EmbeddingConfig, TableConfig
from byov_migrate.digests import Digests
from byov_migrate.records import Content, KeyText, Outgoing, Refs, Rejected, Row
from byov_migrate.source.keys import canonical_key
from byov_migrate.source.links import LinkShape, carried_by, carried_columns, read_ref, ref_expressions
from byov_migrate.source.shape import Column, TableShape, TypeName
from byov_migrate.source.statements import name
from byov_migrate.source.values import Unfit, ValueReader, value_reader
from byov_migrate.source.vectors import read_vectors

Form: TypeAlias = Literal["text", "elements", "bytes"]
Selected: TypeAlias = tuple[Any, ...]

_BLANK = Unfit("no-text", "there is nothing to embed", 'empty_text = "store"')


@dataclass(frozen=True, slots=True)
class RowReader:
    """Everything needed to select rows of a table and to read what came back.

    dimensions: what each embedding's ready vectors must have; None is not known, or no vectors. links: those that a row
    carries; what tells their keys is selected last.
    """

    shape: TableShape
    key_types: tuple[TypeName, ...]
    digests: Digests
    hashes_keys: bool
    fields: Mapping[tuple[str, Form], int]  # -> place in a selected row, after the key's
    properties: tuple[tuple[str, ValueReader, int], ...]
    embeddings: tuple[EmbeddingConfig, ...]
    dimensions: tuple[int | None, ...]
    links: tuple[LinkShape, ...] = ()

    @property
    def expressions(self) -> list[sql.Composable]:
        """What to select: the key as text, then each field once."""
        key = [sql.SQL("{}::text").format(identifier) for identifier in self.shape.key_identifiers]
        fields = (_expression(self.shape.columns[column], form) for column, form in self.fields)
        return [*key, *fields, *(item for link in self.links for item in ref_expressions(link))]

    def position(self, selected: Selected) -> KeyText:
        """PostgreSQL's text of the key."""
        return selected[: len(self.shape.key)]

    def key(self, position: KeyText) -> str:
        """`byovKey`."""
        canonical = canonical_key(self.key_types, position)
        return self.digests.key_hash(canonical) if self.hashes_keys else canonical

    def read(self, selected: Selected) -> Row | Rejected:
        """One row, as `read_all` reads it."""
        return self.read_all([selected])[0]

    def read_all(self, page: Sequence[Selected]) -> tuple[Row | Rejected, ...]:
        """Never raises for what a row holds. The vectors of a page share memory."""
        columns = [self._contents(*item, page) for item in zip(self.embeddings, self.dimensions, strict=True)]
        # Without embeddings there is nothing to zip, and every row has no contents.
        contents = zip(*columns, strict=True) if columns else repeat((), len(page))
        return tuple(map(self._row, page, contents))

    def _row(self, selected: Selected, contents: Sequence[Content | Unfit]) -> Row | Rejected:
        position = self.position(selected)
        properties = self._properties(selected)
        if isinstance(properties, _Refusal):
            return self._rejected(position, properties)
        fit: list[Content] = []
        for embedding, content in zip(self.embeddings, contents, strict=True):
            if isinstance(content, Unfit):
                return self._rejected(position, _Refusal(embedding.vector, content))
            fit.append(content)
        return Row(self.key(position), position, properties, tuple(fit), refs=self._refs(selected))

    def texts(self, selected: Selected) -> tuple[str | None, ...]:
        """The rendered text of each embedding, also beside ready vectors; None without text."""
        return tuple(self._text(embedding, selected) for embedding in self.embeddings)

    def _properties(self, selected: Selected) -> dict[str, Outgoing] | _Refusal:
        properties: dict[str, Outgoing] = {}
        for outgoing, reader, place in self.properties:
            value = selected[place]
            if value is None:
                continue
            read = reader.read(value)
            if isinstance(read, Unfit):
                return _Refusal(reader.column, read)
            properties[outgoing] = read
        return properties

    def _refs(self, selected: Selected) -> Refs:
        """Where the row's links lead; a link that leads nowhere is absent."""
        refs: dict[str, tuple[str, ...]] = {}
        place = len(self.shape.key) + len(self.fields)
        for link in self.links:
            end = place + len(ref_expressions(link))
            if keys := read_ref(link, selected[place:end], self.digests):
                refs[link.type] = keys
            place = end
        return refs

    def _contents(
        self, embedding: EmbeddingConfig, dimension: int | None, page: Sequence[Selected]
    ) -> Sequence[Content | Unfit]:
        contents: Sequence[Content | Unfit]
        if embedding.vector is not None:
            place = self.fields[embedding.vector, "bytes"]
            cells = [selected[place] for selected in page]
            contents = read_vectors(self.shape.columns[embedding.vector], dimension, cells)
        else:
            contents = [self._text(embedding, selected) for selected in page]
        if embedding.empty_text == "reject":
            return [_BLANK if content is None else content for content in contents]
        return contents

    def _text(self, embedding: EmbeddingConfig, selected: Selected) -> str | None:
        if embedding.text is None:
            return None
        return embedding.text.render(
            {column: selected[self.fields[column, "text"]] for column in embedding.text.columns}
        )

    def _rejected(self, position: KeyText, refusal: _Refusal) -> Rejected:
        unfit, column = refusal.unfit, refusal.column
        where = f"column {self.shape}.{column}: " if column else f"{self.shape}: "
        return Rejected(self.key(position), position, "read", unfit.code, where + unfit.reason, column, unfit.setting)


@dataclass(frozen=True, slots=True)
class _Refusal:
    column: str | None
    unfit: Unfit


def row_reader(
    shape: TableShape,
    table: TableConfig,
    digests: Digests,
    dimensions: Sequence[int | None] | None = None,
    links: Sequence[LinkShape] = (),
) -> RowReader:
    """Only the columns that the configuration names are ever selected, and those of its foreign keys."""
    readers = [value_reader(shape.columns[column], table.types.get(column)) for column in table.columns]
    forms: list[tuple[str, Form]] = [
        (reader.column, "elements" if reader.as_elements else "text") for reader in readers
    ]
    forms += [(column, "text") for embedding in table.embeddings if embedding.text for column in embedding.text.columns]
    forms += [(embedding.vector, "bytes") for embedding in table.embeddings if embedding.vector]
    fields = {field: place for place, field in enumerate(dict.fromkeys(forms), len(shape.key))}
    properties = tuple(
        (table.outgoing_name(reader.column), reader, fields[form])
        for reader, form in zip(readers, forms[: len(readers)], strict=True)
    )
    known = tuple(dimensions) if dimensions is not None else (None,) * len(table.embeddings)
    carried = tuple(carried_by(links, table.label))
    named = {column.name: column for link in carried for column in carried_columns(link)}
    shape = replace(shape, columns={**named, **shape.columns})
    key_types = tuple(column.base for column in shape.key)
    return RowReader(
        shape, key_types, digests, table.hash_key_values, fields, properties, table.embeddings, known, carried
    )


def _expression(column: Column, form: Form) -> sql.Composable:
    if form == "bytes":
        return sql.SQL("{}({})").format(name(*column.send), name(column.name))
    return _CASTS[form].format(name(column.name))


_CASTS: Mapping[Form, sql.SQL] = {"text": sql.SQL("{}::text"), "elements": sql.SQL("{}::text[]")}
