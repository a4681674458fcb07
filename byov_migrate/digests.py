"""Keyed hashes: the identities that stand in records and in the state. Their formats can never change.

Every message is a tag, a NUL, then fields, each preceded by its length in 4 bytes, big-endian. Golden vectors for all
of them are in `tests/unit/test_digests.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from byov_migrate.records import Outgoing, Refs, Scalar, Scores, Vector

PROBES = 3
SCORE_TOLERANCE = 2e-7
SLICES = tuple(f"{number:02x}" for number in range(256))


def _field(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


_BOOLEAN, _STRING, _NUMBER, _LIST = map(_field, (b"b", b"s", b"n", b"a"))


def _scalar_fields(value: Scalar) -> bytes:
    """Type letter and value of a string, number or boolean."""
    if isinstance(value, bool):  # before int: a bool is one
        return _BOOLEAN + _field(bytes([value]))
    if isinstance(value, str):
        return _STRING + _field(value.encode())
    return _NUMBER + _field(struct.pack(">d", float(value) or 0.0))  # `or` folds -0.0 into 0.0


def _value_fields(value: Outgoing) -> bytes:
    if isinstance(value, list):
        return _LIST + _field(struct.pack(">I", len(value))) + b"".join(map(_scalar_fields, value))
    return _scalar_fields(value)


@dataclass(frozen=True, repr=False)
class Digests:
    """The keyed hashes of one migration; whoever lacks `key` can neither compute nor guess them."""

    key: bytes

    @cached_property
    def _keyed(self) -> hmac.HMAC:
        """What the key alone decides; a copy of it costs half of making it."""
        return hmac.new(self.key, digestmod=hashlib.sha256)

    def _digest(self, message: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(message)
        return keyed.digest()

    def _hmac(self, tag: str, *fields: bytes) -> bytes:
        return self._digest(tag.encode() + b"\0" + b"".join(map(_field, fields)))

    def record_hash(self, properties: Mapping[str, Outgoing]) -> str:
        """`byovHash` of the outgoing properties, without `byov*` and the embedding properties: 32 hex digits."""
        message = b"byov-hash-1\0"
        for name in sorted(properties, key=str.encode):
            message += _field(name.encode()) + _value_fields(properties[name])
        return self._digest(message).hex()[:32]

    def text_hash(self, text: str, fingerprint: str) -> str:
        """`byovText_P` of a rendered text, before prompt and truncation, and the model that read it."""
        return f"{self._hmac('byov-text-1', text.encode()).hex()[:32]}:{fingerprint[:12]}"

    def vector_hash(self, vector: Vector) -> str:
        """`byovText_P` of a vector that came from PostgreSQL."""
        content = np.ascontiguousarray(vector, dtype="<f4").tobytes()
        return f"{self._hmac('byov-vector-1', content).hex()[:32]}:ready"

    def batch_id(
        self, state_id: str, rows: Iterable[tuple[str, str, tuple[str | None, ...], Refs]], over: Iterable[str] = ()
    ) -> str:
        """`byovBatch`: 16 hex digits from the state and, for each row, key, hash, text hashes and, with links, refs.

        Refs are in no other hash, and a write that changes nothing else must have a name of its own to be proved by.
        over: the names that records carry which are written over. One whose content somebody altered carries the name
        of what is put back already, and would prove a write that was lost.
        """
        fields = [state_id.encode()]
        for key, record_hash, text_hashes, refs in rows:
            fields += [key.encode(), record_hash.encode(), *((text or "").encode() for text in text_hashes)]
            for kind in sorted(refs):
                targets = [target.encode() for target in refs[kind]]
                fields += [kind.encode(), str(len(targets)).encode(), *targets]
        fields += [f"over {name}".encode() for name in over]
        return self._hmac("byov-batch-1", *fields).hex()[:16]

    def slice_of(self, key: str) -> str:
        """`byovSlice`: one of 256 even slices, which never decay."""
        return self._hmac("byov-slice-1", key.encode()).hex()[:2]

    def key_hash(self, canonical: str) -> str:
        """`byovKey` under `hash_key_values`: 32 hex digits."""
        return self._hmac("byov-key-1", canonical.encode()).hex()[:32]

    def probes(self, dimension: int) -> Vector:
        """The probe vectors, float32, shape (3, dimension), unit length; signs from SHAKE-256 of the key."""
        seed = self._digest(b"byov-probe-1\0")
        rows = []
        for number in range(PROBES):
            stream = hashlib.shake_256(seed + bytes([number])).digest((dimension + 7) // 8)
            bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8), bitorder="little")[:dimension]
            rows.append(np.where(bits == 1, 1.0, -1.0) / math.sqrt(dimension))
        return np.asarray(rows, dtype=np.float32)


def probe_scores(vectors: Vector, probes: Vector) -> list[Scores]:
    """What an exact search with each probe answers for each vector: (1 + cosine) / 2 as float64.

    vectors: float32, shape (n, dimension), none of them zero.
    """
    wide, directions = vectors.astype(np.float64), probes.astype(np.float64)
    lengths = np.sqrt(np.vecdot(wide, wide))[:, None] * np.sqrt(np.vecdot(directions, directions))
    # Not `@`: it wakes a thread for every core, and those spin longer than the product takes.
    cosines = np.vecdot(wide[:, None, :], directions) / lengths
    return [(first, second, third) for first, second, third in ((1.0 + cosines) / 2.0).tolist()]
