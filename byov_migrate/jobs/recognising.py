"""Whose vectors stand under a property: a few are made again and compared. For a state that is lost and cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice

import numpy as np

from byov_migrate.config import Config, EmbeddingConfig, TableConfig
from byov_migrate.errors import Refused
from byov_migrate.jobs.carriers import as_carried, making_of
from byov_migrate.jobs.opening import Ends
from byov_migrate.jobs.ranges import whole_table
from byov_migrate.jobs.table_work import Models
from byov_migrate.records import Content, Row, Vector
from byov_migrate.state.carriers import Carrier
from byov_migrate.target.wire import Index

SAMPLE = 10
ROWS_LOOKED_AT = 1000
PAGE_ROWS = 100
SAME_MODEL = 0.999
"""Cosine of a stored vector and the one made now; other versions of the libraries and other number formats included."""


def as_indexed(ends: Ends) -> Config:
    """The configuration, with embeddings whose vectors stand where only a re-embedding puts them, as RushDB tells.

    Raise Refused when the model of the configuration has made none of the vectors that there are.
    """
    models = Models(ends.config, ends.around.log)
    for table in ends.config.tables:
        for number, item in enumerate(table.embeddings):
            carrier = _Recognising(ends, models, table, number).carrier()
            if carrier is not None:
                found = Carrier(item.property_name, carrier, making_of(ends.config, item), marked=False)
                ends.state.carriers.begin(table.name, found, {})
    return as_carried(ends.config, ends.state.carriers)


class _Recognising:
    """One embedding."""

    def __init__(self, ends: Ends, models: Models, table: TableConfig, number: int) -> None:
        self._ends = ends
        self._models = models
        self._table = table
        self._number = number
        self._item: EmbeddingConfig = table.embeddings[number]

    def carrier(self) -> str | None:
        """The property that holds the vectors of this configuration; None where there was never a second set."""
        own, spare = self._filled(self._item.property_name), self._filled(self._item.spare_property)
        if spare is None:
            return None
        vectors = dict(islice(self._vectors(), SAMPLE))
        for index in (own, spare):
            if index is not None and self._holds(index, vectors):
                return index.property_name
        there = " and ".join(index.property_name for index in (own, spare) if index is not None)
        raise Refused(
            f"the vectors of {self._table.label} under {there} were not made as the configuration says; nothing was"
            " changed",
            next_step="name the model and the text that made them, then byov-migrate adopt",
        )

    def _filled(self, property_name: str) -> Index | None:
        """The index on a property, if there is one with a vector in it."""
        ends = self._ends
        for index in ends.patience.retry(ends.wire.indexes):
            is_here = (index.label, index.property_name) == (self._table.label, property_name)
            if is_here and ends.patience.retry(partial(ends.wire.count_vectors, index)):
                return index
        return None

    def _vectors(self) -> Iterator[tuple[str, Vector]]:
        """Keys and vectors of rows, as they are made now."""
        alone = self._table.model_copy(update={"embeddings": (self._item,)})
        pages = whole_table(self._ends.reader(alone, {}), PAGE_ROWS, self._ends.patience)
        rows = (row for page in pages for row in page.rows if isinstance(row, Row))
        for row in islice(rows, ROWS_LOOKED_AT):
            vector = self._vector(row.contents[0])
            if vector is not None:
                yield row.key, vector

    def _vector(self, content: Content) -> Vector | None:
        if content is None or isinstance(content, np.ndarray):
            return content
        encoded = self._models.encoder(self._item.model or "").encode_documents([content])
        vector: Vector | None = None if encoded.refused else encoded.vectors[0]
        return vector

    def _holds(self, index: Index, vectors: dict[str, Vector]) -> bool:
        """Whether most of these vectors are those of their records; rows may have changed since."""
        cosines = [
            2 * hit.score - 1
            for key, vector in vectors.items()
            if len(vector) == index.dimension
            for hit in self._ends.patience.retry(
                partial(self._ends.wire.search, index, vector, where={"byovKey": key}, limit=1)
            )
            if hit.score is not None
        ]
        return 2 * sum(cosine >= SAME_MODEL for cosine in cosines) > len(cosines)
