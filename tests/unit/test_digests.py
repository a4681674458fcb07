"""Golden vectors of every keyed hash: computed a second time by hand, and frozen as they were in the first release.

A change of any of these orphans every record that was ever written.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import struct
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byov_migrate.digests import PROBES, SLICES, Digests, probe_scores
from byov_migrate.records import Outgoing, Refs

KEY = bytes(range(32))
Identity: TypeAlias = tuple[str, str, tuple[str | None, ...], Refs]
DIGESTS = Digests(KEY)


def framed(*fields: bytes) -> bytes:
    """Each field behind its length in 4 bytes, big-endian."""
    return b"".join(struct.pack(">I", len(content)) + content for content in fields)


def keyed(message: bytes) -> str:
    """HMAC-SHA256, 64 hex digits."""
    return hmac.new(KEY, message, hashlib.sha256).hexdigest()


NUMBER = struct.Struct(">d")
ALL_KINDS: dict[str, Outgoing] = {
    "title": "Fahrer/in",
    "salary": 80000,
    "rate": 1.5,
    "remote": True,
    "full": False,
    "posted": "2026-01-31T10:00:00.000000+00:00",
    "tags": ["a", 2, True],
    "none": [],
    "": "an empty name",
}


def test_record_hash_spelled_out() -> None:
    """Names in UTF-8 order; then name, letter, value; an array is its count and then letter and value of each."""
    message = b"byov-hash-1\0" + framed(
        *(b"", b"s", b"an empty name"),
        *(b"full", b"b", b"\0"),
        *(b"none", b"a", b"\0\0\0\0"),
        *(b"posted", b"s", b"2026-01-31T10:00:00.000000+00:00"),
        *(b"rate", b"n", NUMBER.pack(1.5)),
        *(b"remote", b"b", b"\1"),
        *(b"salary", b"n", NUMBER.pack(80000.0)),
        *(b"tags", b"a", b"\0\0\0\3", b"s", b"a", b"n", NUMBER.pack(2.0), b"b", b"\1"),
        *(b"title", b"s", b"Fahrer/in"),
    )
    assert DIGESTS.record_hash(ALL_KINDS) == keyed(message)[:32]


@pytest.mark.parametrize(
    ("properties", "frozen"),
    [
        ({}, "76c83fda6f14386fca9b8bbf491b1ff0"),
        ({"a": "1"}, "b90d53d7e372692aad4997a52231acaf"),
        ({"a": 1}, "338f18fff192571938f3343a2974242e"),
        ({"a": True}, "f8ac1e3676dc51c805921b0da4a068c6"),
        ({"a": ["1"]}, "5016438b0c4dce1fabdd362f4201030c"),
        (ALL_KINDS, "2105d2538dcf0959fa908b4ef8413090"),
    ],
)
def test_record_hash_frozen(properties: dict[str, Outgoing], frozen: str) -> None:
    """As in the first release; "1", 1, true and ["1"] are four values."""
    assert DIGESTS.record_hash(properties) == frozen


def test_record_hash_orders_names_by_utf8() -> None:
    """UTF-16, as JavaScript and Java sort, puts U+10000 before U+FF5E; a locale puts ä before z."""
    names = ["z", "\u00e4", "\uff5e", "\U00010000"]
    message = b"byov-hash-1\0" + framed(*(part for name in names for part in (name.encode(), b"s", b"x")))
    assert DIGESTS.record_hash(dict.fromkeys(reversed(names), "x")) == keyed(message)[:32]


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(max_codepoint=999))))
def test_record_hash_does_not_depend_on_the_order_of_columns(properties: dict[str, Outgoing]) -> None:
    """A configuration that lists its columns in another order writes the same records."""
    assert DIGESTS.record_hash(properties) == DIGESTS.record_hash(dict(reversed(properties.items())))


@pytest.mark.parametrize(("one", "other"), [(0.0, -0.0), (1, 1.0), (2**53, float(2**53)), ([0.0], [-0.0])])
def test_numbers_that_are_equal_on_the_wire_hash_alike(one: Outgoing, other: Outgoing) -> None:
    """RushDB gives -0.0 back as 0, and 2.0 as 2."""
    assert DIGESTS.record_hash({"a": one}) == DIGESTS.record_hash({"a": other})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": True}),
        ({"a": 0}, {"a": False}),
        ({"a": 0}, {"a": ""}),
        ({"a": ""}, {}),
        ({"a": []}, {}),
        ({"a": "bc"}, {"ab": "c"}),
        ({"a": ["b", "c"]}, {"a": ["bc"]}),
        ({"a": ["b"]}, {"a": "b"}),
        ({"a": [], "s": "x"}, {"a": ["x"]}),
        ({"a": "1", "b": "2"}, {"a": "2", "b": "1"}),
        ({"a": "\u00e9"}, {"a": "e\u0301"}),
    ],
)
def test_different_records_have_different_hashes(one: dict[str, Outgoing], other: dict[str, Outgoing]) -> None:
    """Without lengths and letters, moving a character across a border would go unnoticed."""
    assert DIGESTS.record_hash(one) != DIGESTS.record_hash(other)


def test_text_hash_spelled_out() -> None:
    """The rendered text, then the first 12 digits of the model's fingerprint in the clear."""
    expected = keyed(b"byov-text-1\0" + framed("Grüße\nan alle".encode()))[:32]
    assert DIGESTS.text_hash("Grüße\nan alle", "0123456789abcdef") == f"{expected}:0123456789ab"


def test_text_hash_frozen() -> None:
    """As in the first release."""
    assert DIGESTS.text_hash("hello", "f" * 64) == "9fdb0590dac13436ff00973cc7403245:ffffffffffff"


def test_vector_hash_spelled_out() -> None:
    """Little-endian float32, whatever the machine and the array's own type."""
    vector = np.asarray([1.0, -0.5, 0.1], dtype=np.float32)
    expected = keyed(b"byov-vector-1\0" + framed(struct.pack("<3f", 1.0, -0.5, 0.1)))[:32]
    assert DIGESTS.vector_hash(vector) == f"{expected}:ready"
    assert DIGESTS.vector_hash(vector.astype(">f4")) == f"{expected}:ready"
    assert DIGESTS.vector_hash(np.repeat(vector, 2)[::2]) == f"{expected}:ready"


def test_vector_hash_frozen() -> None:
    """As in the first release."""
    assert (
        DIGESTS.vector_hash(np.asarray([1.0, -0.5, 0.1], dtype=np.float32)) == "7c3c71b418c9dd12bc3257b719150ceb:ready"
    )


def test_batch_id_spelled_out() -> None:
    """State, then key, hash and text hashes of each row in order; a missing text hash is an empty field."""
    rows: list[Identity] = [("1", "h1", ("t1", None), {}), ("~x", "h2", (None, None), {})]
    message = framed(b"state", b"1", b"h1", b"t1", b"", b"~x", b"h2", b"", b"")
    assert DIGESTS.batch_id("state", rows) == keyed(b"byov-batch-1\0" + message)[:16]


def test_batch_id_with_refs_spelled_out() -> None:
    """Behind a row's own: each link's type, by name, how many keys it leads to, and these."""
    rows: list[Identity] = [("1", "h1", ("t1",), {"WANTS": ("a", "b"), "AT": ("7",)}), ("2", "h2", (None,), {})]
    message = framed(b"state", b"1", b"h1", b"t1", b"AT", b"1", b"7", b"WANTS", b"2", b"a", b"b", b"2", b"h2", b"")
    assert DIGESTS.batch_id("state", rows) == keyed(b"byov-batch-1\0" + message)[:16]


def test_batch_id_over_records_spelled_out() -> None:
    """Behind all rows: what the records carry. Else a record that somebody altered would prove its own repair."""
    rows: list[Identity] = [("1", "h1", ("t1",), {}), ("2", "h2", (None,), {})]
    message = framed(b"state", b"1", b"h1", b"t1", b"2", b"h2", b"", b"over 0a", b"over 1b")
    assert DIGESTS.batch_id("state", rows, ["0a", "1b"]) == keyed(b"byov-batch-1\0" + message)[:16]


def test_batch_id_frozen() -> None:
    """As in the first release; a row without links is named as before there were any."""
    assert DIGESTS.batch_id("state", [("1", "h1", ("t1",), {})]) == "922b880d4aeeafc4"
    refs = {"WANTS": ("a", "b"), "AT": ("7",)}
    assert DIGESTS.batch_id("state", [("1", "h1", ("t1",), refs)]) == "e4ae582a96f33cc3"


def test_batch_id_depends_on_state_order_and_content() -> None:
    """Two states, or two different batches, must never share a name: a batch is looked for by it."""
    row: Identity = ("1", "h", ("t",), {})
    other: Identity = ("2", "h", ("t",), {})
    names = [
        DIGESTS.batch_id("state", [row, other]),
        DIGESTS.batch_id("state", [other, row]),
        DIGESTS.batch_id("other", [row, other]),
        DIGESTS.batch_id("state", [row]),
        DIGESTS.batch_id("state", [("1", "h", (None,), {}), other]),
        DIGESTS.batch_id("state", [("1", "changed", ("t",), {}), other]),
        DIGESTS.batch_id("state", [("1", "h", ("t",), {"AT": ("7",)}), other]),
        DIGESTS.batch_id("state", [("1", "h", ("t",), {"AT": ("8",)}), other]),
        DIGESTS.batch_id("state", [("1", "h", ("t",), {"IN": ("7",)}), other]),
        DIGESTS.batch_id("state", [row, ("2", "h", ("t",), {"AT": ("7",)})]),
    ]
    assert len(set(names)) == len(names)


def test_slice_spelled_out_and_frozen() -> None:
    """The first byte of the key's hash."""
    assert DIGESTS.slice_of("~2026-01-31") == keyed(b"byov-slice-1\0" + framed(b"~2026-01-31"))[:2]
    assert [DIGESTS.slice_of(str(number)) for number in range(6)] == ["b0", "9d", "81", "a7", "bc", "b0"]


def test_slices_are_even() -> None:
    """Verify asks slice by slice; one large slice would not fit the server's time."""
    counts = dict.fromkeys(SLICES, 0)
    for number in range(25_600):
        counts[DIGESTS.slice_of(str(number))] += 1
    assert min(counts.values()) >= 50
    assert max(counts.values()) <= 160


def test_key_hash_spelled_out_and_frozen() -> None:
    """What stands for the key under `hash_key_values`."""
    assert DIGESTS.key_hash('["1","a"]') == keyed(b"byov-key-1\0" + framed(b'["1","a"]'))[:32]
    assert DIGESTS.key_hash("42") == "1b77b86a8d5fcb2bb6385d24a3ae5084"


def test_every_hash_has_a_tag_of_its_own() -> None:
    """The same content under two purposes must not show that it is the same."""
    one = np.asarray([1.0], dtype=np.float32)
    content = one.tobytes().decode("latin-1")
    hashes = [
        DIGESTS.key_hash(content),
        DIGESTS.text_hash(content, ""),
        DIGESTS.vector_hash(one),
        DIGESTS.batch_id(content, ()),
        DIGESTS.slice_of(content),
    ]
    assert len({text[:2] for text in hashes}) == len(hashes)


def test_another_key_makes_other_hashes() -> None:
    """Nobody without the key can guess a short text by its hash."""
    other = Digests(b"\xff" * 32)
    assert other.text_hash("yes", "f") != DIGESTS.text_hash("yes", "f")
    assert other.record_hash({"a": "yes"}) != DIGESTS.record_hash({"a": "yes"})
    assert not np.array_equal(other.probes(8), DIGESTS.probes(8))


def test_the_key_is_in_no_repr() -> None:
    """A traceback or a debugger's log must not hand it out."""
    assert KEY.hex()[:8] not in repr(DIGESTS)
    assert str(KEY)[:8] not in repr(DIGESTS)


@pytest.mark.parametrize("dimension", [1, 7, 8, 9, 384, 768])
def test_probes_spelled_out(dimension: int) -> None:
    """Bit i of SHAKE-256, least significant first, is the sign of component i; the whole is a unit vector."""
    seed = hmac.new(KEY, b"byov-probe-1\0", hashlib.sha256).digest()
    expected = []
    for number in range(PROBES):
        stream = hashlib.shake_256(seed + bytes([number])).digest(dimension)
        bits = [stream[i // 8] >> (i % 8) & 1 for i in range(dimension)]
        expected.append([(1.0 if bit else -1.0) / math.sqrt(dimension) for bit in bits])
    probes = DIGESTS.probes(dimension)
    assert probes.dtype == np.float32
    assert np.array_equal(probes, np.asarray(expected, dtype=np.float32))


def test_probes_frozen() -> None:
    """Signs of the three probes of dimension 8, as in the first release."""
    signs = ["".join("+" if value > 0 else "-" for value in probe) for probe in DIGESTS.probes(8)]
    assert signs == ["+++--++-", "-+-+--++", "----++++"]


def test_a_longer_probe_begins_as_a_shorter_one() -> None:
    """SHAKE-256 is one stream."""
    assert np.array_equal(np.sign(DIGESTS.probes(768)[:, :64]), np.sign(DIGESTS.probes(64)))


def test_scores_spelled_out() -> None:
    """(1 + cosine) / 2 in float64, for vectors of any length; rows stay in order."""
    probes = np.asarray([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    vectors = np.asarray([[3, 0], [0, 0.5], [1, 1]], dtype=np.float32)
    middle = (1 + 1 / math.sqrt(2)) / 2
    expected = [(1.0, 0.5, 0.0), (0.5, 1.0, 0.5), (middle, middle, 1 - middle)]
    assert np.allclose(probe_scores(vectors, probes), expected, atol=1e-15)


def test_scores_do_not_change_with_the_batch_they_were_computed_in() -> None:
    """Verify computes nothing anew: a stored score is compared with the server's, which knows no batches."""
    vectors = np.random.default_rng(1).normal(size=(100, 384)).astype(np.float32)
    probes = DIGESTS.probes(384)
    together = probe_scores(vectors, probes)
    alone = [probe_scores(vectors[n : n + 1], probes)[0] for n in range(100)]
    assert np.allclose(together, alone, atol=1e-12)
