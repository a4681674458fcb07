"""Ready vectors: the server's binary form -> float32, or why they are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from byov_migrate.records import Vector
from byov_migrate.source.shape import Column
from byov_migrate.source.values import Unfit

_ARRAY_HEADER_BYTES = 12  # dimensions, flags, element type
_HEADER = Struct(">ii")  # the first two of them
_ARRAY_AXIS_BYTES = 8  # length, lower bound
_VECTOR_HEADER_BYTES = 4  # dimension, unused
# In an array each element follows its own length in bytes.
_ARRAYS: Final = {
    "float4": np.dtype([("bytes", ">i4"), ("value", ">f4")]),
    "float8": np.dtype([("bytes", ">i4"), ("value", ">f8")]),
}
_EXTENSION: Final[dict[str, np.dtype[Any]]] = {"vector": np.dtype(">f4"), "halfvec": np.dtype(">f2")}

_SURELY_FINE = (1e-30, 1e30)
"""Squared lengths that fit float32 however they are rounded, as almost all do. Others are looked at closely."""

_NULL = Unfit("vector-null", "the vector holds NULL")
_NESTED = Unfit("vector-nested", "the vector is an array of more than one dimension")
_EMPTY = Unfit("vector-dimension", "the vector is empty")
_NOT_FINITE = Unfit("vector-not-finite", "the vector holds NaN, infinity, or a number too large for float32")
_NO_LENGTH = Unfit(
    "vector-zero", "the vector's length is zero, or too small or large for float32, so it has no direction"
)


def holds_vectors(column: Column) -> bool:
    """Whether a column is `vector` or `halfvec` of pgvector, `real[]` or `double precision[]`."""
    if column.element is not None:
        return column.element.schema == "pg_catalog" and column.element.name in _ARRAYS
    return column.base.name in _EXTENSION and column.base.schema != "pg_catalog"


def declared_dimension(column: Column) -> int | None:
    """The dimension that the type itself demands, as `vector(768)` does."""
    return column.modifier if column.element is None and column.modifier > 0 else None


def vector_decoder(column: Column) -> Callable[[bytes], Vector | Unfit]:
    """What turns the column's binary form into float32, shape (dimension,); only the form is checked."""
    if column.element is None:
        return _from_extension(_EXTENSION[column.base.name])
    return _from_array(_ARRAYS[column.element.name])


def check_vector(vector: Vector, dimension: int | None) -> Vector | Unfit:
    """The vector itself, or what makes it unusable. RushDB answers every exact search with 500 after a zero vector."""
    if dimension is not None and len(vector) != dimension:
        return Unfit("vector-dimension", f"the vector has dimension {len(vector)}, not {dimension}")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squared = np.dot(vector, vector)
    if _SURELY_FINE[0] < squared < _SURELY_FINE[1]:  # NaN and infinity are not
        return vector
    if not np.isfinite(vector).all():
        return _NOT_FINITE
    with np.errstate(over="ignore", under="ignore"):
        length = np.float32(np.dot(vector.astype(np.float64), vector.astype(np.float64)))
    return vector if np.isfinite(length) and length >= np.finfo(np.float32).tiny else _NO_LENGTH


def usual_dimension(vectors: Sequence[Vector | Unfit]) -> int | None:
    """The commonest dimension among vectors; None without any."""
    counts = Counter(len(vector) for vector in vectors if not isinstance(vector, Unfit))
    return counts.most_common(1)[0][0] if counts else None


def _from_extension(element: np.dtype[Any]) -> Callable[[bytes], Vector | Unfit]:
    def decode(content: bytes) -> Vector | Unfit:
        return np.frombuffer(content, dtype=element, offset=_VECTOR_HEADER_BYTES).astype(np.float32)

    return decode


def _from_array(element: np.dtype[np.void]) -> Callable[[bytes], Vector | Unfit]:
    def decode(content: bytes) -> Vector | Unfit:
        axes, has_null = _HEADER.unpack_from(content)
        if axes != 1:
            return _NESTED if axes else _EMPTY
        if has_null:
            return _NULL
        read = np.frombuffer(content, dtype=element, offset=_ARRAY_HEADER_BYTES + _ARRAY_AXIS_BYTES)
        return _narrow(read["value"]) if element is _ARRAYS["float8"] else read["value"].astype(np.float32)

    return decode


def _narrow(values: NDArray[np.floating]) -> Vector:
    """float64 -> the nearest float32; what is too large becomes infinite and is refused by `check_vector`."""
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(np.float32)
