"""Ready vectors: what is no direction is no vector."""

from __future__ import annotations

import numpy as np
import pytest

from byov_migrate.source.shape import Column, TypeName
from byov_migrate.source.values import Unfit
from byov_migrate.source.vectors import (
    check_vector,
    declared_dimension,
    holds_vectors,
    read_vectors,
    usual_dimension,
    vector_decoder,
)

EXTENSION = TypeName("public", "vector", "b", "U")


def column(base: TypeName, element: TypeName | None = None, modifier: int = -1) -> Column:
    """A column named `v`."""
    return Column("v", "x", "x", modifier, False, "", base, element, ("public", "send"))


def array_of(name: str) -> Column:
    """A column of an array of a type of pg_catalog."""
    return column(TypeName("pg_catalog", f"_{name}", "b", "A"), TypeName("pg_catalog", name, "b", "N"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.0], "vector-zero"),
        ([1e-30, 0.0], "vector-zero"),  # its square is no float32
        ([1e30, 0.0], "vector-zero"),
        ([1.0, float("nan")], "vector-not-finite"),
        ([float("inf"), 1.0], "vector-not-finite"),
        ([1.0, 2.0, 3.0], "vector-dimension"),
    ],
)
def test_a_vector_that_breaks_searches_is_refused(values: list[float], expected: str) -> None:
    """One zero vector makes every exact search of the label answer 500."""
    result = check_vector(np.array(values, dtype=np.float32), 2)
    assert isinstance(result, Unfit)
    assert result.code == expected


def test_a_good_vector_passes_bit_for_bit() -> None:
    """Checking must not normalise or copy."""
    vector = np.array([0.1, -0.2], dtype=np.float32)
    assert check_vector(vector, 2) is vector


def test_the_dimension_is_that_of_most_vectors() -> None:
    """One bad first row must not make all others wrong."""
    long, short = np.ones(3, dtype=np.float32), np.ones(2, dtype=np.float32)
    assert usual_dimension([short, long, long]) == 3
    assert usual_dimension([]) is None


def test_the_type_may_declare_the_dimension() -> None:
    """`vector(768)` needs no look at a row."""
    assert declared_dimension(column(EXTENSION, modifier=768)) == 768
    assert declared_dimension(column(EXTENSION)) is None
    assert declared_dimension(array_of("float4")) is None


def test_only_vector_types_hold_vectors() -> None:
    """`integer[]` and a table's own type called vector in pg_catalog's place are told in `check`."""
    assert holds_vectors(array_of("float8"))
    assert holds_vectors(column(EXTENSION))
    assert not holds_vectors(array_of("int4"))
    assert not holds_vectors(column(TypeName("pg_catalog", "text", "b", "S")))


def test_a_double_beyond_float32_is_not_finite_rather_than_a_crash() -> None:
    """numpy would warn, and the vector would hold infinity."""
    header = np.array([1, 0, 701, 2, 1], dtype=">i4").tobytes()
    body = b"".join(b"\0\0\0\x08" + np.array([value], dtype=">f8").tobytes() for value in (1e300, 1.0))
    decoded = vector_decoder(array_of("float8"))(header + body)
    assert not isinstance(decoded, Unfit)
    result = check_vector(decoded, 2)
    assert isinstance(result, Unfit)
    assert result.code == "vector-not-finite"


def cell(values: list[float], element: str = "float4") -> bytes:
    """An array as PostgreSQL sends it."""
    type_number, form, width = {"float4": (700, ">f4", 4), "float8": (701, ">f8", 8)}[element]
    header = np.array([1, 0, type_number, len(values), 1], dtype=">i4").tobytes()
    return header + b"".join(width.to_bytes(4, "big") + np.array([value], dtype=form).tobytes() for value in values)


@pytest.mark.parametrize("element", ["float4", "float8"])
def test_cells_read_together_are_the_cells_read_alone(element: str) -> None:
    """A page is decoded in one go; neither a bit nor a reason may differ from what the row alone would give."""
    given = [
        [0.1, -0.2],
        [0.0, 0.0],
        [1e-30, 0.0],
        [float("nan"), 1.0],
        [1.0],
        [3e38, 3e38],
        [5e-324, -1.0],
        [7.0, 8.0],
    ]
    contents = [None, *(cell(values, element) for values in given), None, cell([], element)]
    column = array_of(element)

    def alone(content: bytes | None) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]] | Unfit | None:
        decoded = None if content is None else vector_decoder(column)(content)
        return check_vector(decoded, 2) if isinstance(decoded, np.ndarray) else decoded

    read = read_vectors(column, 2, contents)
    for together, expected in zip(read, map(alone, contents), strict=True):
        if isinstance(together, np.ndarray):
            assert isinstance(expected, np.ndarray)
            assert (together.dtype, together.tobytes()) == (expected.dtype, expected.tobytes())
        else:
            assert together == expected
    assert [number for number, item in enumerate(read) if isinstance(item, np.ndarray)] == [1, 7, 8]
