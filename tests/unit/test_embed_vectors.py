from __future__ import annotations

import numpy as np
import pytest

from byov_migrate.embed.encoding import judge_vectors
from byov_migrate.embed.network import Layout, lay_out

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(
    ("row", "code"),
    [
        ([NAN, 1.0], "not-finite"),
        ([INFINITY, 0.0], "not-finite"),
        ([-INFINITY, INFINITY], "not-finite"),
        ([0.0, -0.0], "zero-vector"),
        ([1e-20, 0.0], "zero-vector"),  # its direction is noise
    ],
)
def test_a_useless_vector_is_refused_and_becomes_zeros(row: list[float], code: str, *, normalize: bool) -> None:
    """JSON would turn NaN into null, and a zero vector is at no distance from anything."""
    vectors, refused = judge_vectors(np.array([[3.0, 4.0], row], dtype=np.float32), normalize=normalize)
    assert refused[1][0] == code
    assert vectors[1].tolist() == [0.0, 0.0]
    assert set(refused) == {1}


def test_normalized_vectors_have_unit_length() -> None:
    """Half precision inside the model leaves a length of 0.998 otherwise."""
    vectors, _ = judge_vectors(np.array([[3.0, 4.0], [1e-5, 0.0]], dtype=np.float32), normalize=True)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0, 1.0], abs=1e-7)
    assert vectors.dtype == np.float32


def test_vectors_keep_their_length_when_asked() -> None:
    """`normalize = false` sends what the model gave."""
    given = np.array([[3.0, 4.0], [3e38, 3e38]], dtype=np.float32)
    vectors, refused = judge_vectors(given, normalize=False)
    assert (vectors == given).all()
    assert not refused


@pytest.mark.parametrize(
    ("pads_left", "ids", "mask"),
    [
        (False, [[1, 2, 3], [4, 9, 9]], [[1, 1, 1], [1, 0, 0]]),
        (True, [[1, 2, 3], [9, 9, 4]], [[1, 1, 1], [0, 0, 1]]),
    ],
)
def test_padding_stands_on_the_models_side(ids: list[list[int]], mask: list[list[int]], *, pads_left: bool) -> None:
    """A model that pools the last token must not pool padding."""
    laid = lay_out([[1, 2, 3], [4]], Layout(pad_id=9, pads_left=pads_left))
    assert [array.tolist() for array in laid] == [ids, mask]
