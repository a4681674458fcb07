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

_ARRAY_HEAD = np.dtype([(name, ">i4") for name in ("axes", "has_null", "element_type", "length", "lower_bound")])
_FORM = Struct(">ii")  # the first two of them
_VECTOR_HEAD = np.dtype([(name, ">i2") for name in ("dimension", "unused")])
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


def read_vectors(
    column: Column, dimension: int | None, contents: Sequence[bytes | None]
) -> list[Vector | Unfit | None]:
    """What each cell of a column holds: float32, shape (dimension,), or why that is no vector; None for NULL.

    dimension: what a vector must have; None is not known. The vectors share memory: what keeps one keeps all of them.
    """
    decode = vector_decoder(column)
    sound = _read_together(column, dimension, contents) if dimension else {}
    read: list[Vector | Unfit | None] = []
    for number, content in enumerate(contents):
        vector = sound.get(number)
        if vector is None and content is not None:
            decoded = decode(content)
            read.append(decoded if isinstance(decoded, Unfit) else check_vector(decoded, dimension))
        else:
            read.append(vector)
    return read


def _read_together(column: Column, dimension: int, contents: Sequence[bytes | None]) -> dict[int, Vector]:
    """The vectors that are surely sound, by number: almost all, at a fraction of what each costs alone."""
    form = _usual_form(column, dimension)
    numbers = [number for number, content in enumerate(contents) if content and len(content) == form.itemsize]
    cells = np.frombuffer(b"".join(contents[number] or b"" for number in numbers), dtype=form)
    elements = cells["elements"]
    vectors = _narrow(elements if elements.dtype.names is None else elements["value"])
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        squared = np.vecdot(vectors, vectors)
    sound = (_SURELY_FINE[0] < squared) & (squared < _SURELY_FINE[1])
    if column.element is not None:
        sound &= (cells["head"]["axes"] == 1) & (cells["head"]["has_null"] == 0)
    return {number: vector for number, vector, fine in zip(numbers, vectors, sound.tolist(), strict=True) if fine}


def _usual_form(column: Column, dimension: int) -> np.dtype[np.void]:
    """A whole cell: a vector of this dimension, without NULLs."""
    if column.element is None:
        head, element = _VECTOR_HEAD, _EXTENSION[column.base.name]
    else:
        head, element = _ARRAY_HEAD, _ARRAYS[column.element.name]
    return np.dtype([("head", head), ("elements", element, (dimension,))])


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
        return np.frombuffer(content, dtype=element, offset=_VECTOR_HEAD.itemsize).astype(np.float32)

    return decode


def _from_array(element: np.dtype[np.void]) -> Callable[[bytes], Vector | Unfit]:
    def decode(content: bytes) -> Vector | Unfit:
        axes, has_null = _FORM.unpack_from(content)
        if axes != 1:
            return _NESTED if axes else _EMPTY
        if has_null:
            return _NULL
        read = np.frombuffer(content, dtype=element, offset=_ARRAY_HEAD.itemsize)
        return _narrow(read["value"])

    return decode


def _narrow(values: NDArray[np.floating]) -> Vector:
    """float64 -> the nearest float32; what is too large becomes infinite and is refused by `check_vector`."""
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(np.float32)
