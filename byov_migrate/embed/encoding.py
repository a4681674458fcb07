"""Texts to vectors: what the other rooms use of this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np

from byov_migrate.config import ModelConfig
from byov_migrate.embed.device import Placement
from byov_migrate.embed.library import give_back_memory
from byov_migrate.embed.model_facts import ModelFacts
from byov_migrate.embed.model_files import ModelFiles
from byov_migrate.embed.network import Layout, Networks
from byov_migrate.embed.tokens import Ids, Passage, TextTokenizer
from byov_migrate.errors import MigrationError
from byov_migrate.records import Vector

Refusal = tuple[str, str]
"""Code ("too-long", "not-finite", "zero-vector") and a reason for people, without the text."""

SMALLEST_NORM = 1e-12


@dataclass(frozen=True)
class Encoded:
    """vectors: float32, shape (n, dimension), rows in the order of the texts; a refused row is zeros.

    refused: by row; truncated: by row, whether its end was not read; tokens: read by the model, each text once;
    padded_tokens: computed for them.
    """

    vectors: Vector = field(repr=False)
    refused: Mapping[int, Refusal]
    truncated: tuple[bool, ...]
    tokens: int
    padded_tokens: int


@dataclass(frozen=True)
class Prepared:
    """Tokenised texts, made by `Encoder.prepare`. owners: for each text the passage it shares with its equals."""

    passages: tuple[Passage, ...]
    owners: tuple[int, ...]


@dataclass(frozen=True)
class Prompted:
    """A prompt and the layout that goes with it: how many of its tokens are left out of pooling."""

    text: str
    layout: Layout


class Encoder:
    """A loaded model. Made by `load_encoder`; used by one thread at a time, while another one may `prepare`."""

    def __init__(
        self,
        config: ModelConfig,
        files: ModelFiles,
        facts: ModelFacts,
        placement: Placement,
        fingerprint: str,
        tokenizer: TextTokenizer,
        network: Networks,
        prompts: tuple[Prompted, Prompted],
    ) -> None:
        self.files = files
        self.dimension = facts.dimension
        self.window = tokenizer.window
        self.device = placement.device
        self.dtype = placement.dtype
        self.fingerprint = fingerprint
        self._config = config
        self._renormalizes = config.normalize or facts.normalizes
        self._tokenizer = tokenizer
        self._network = network
        self._document, self._query = prompts

    @property
    def batch_tokens(self) -> int:
        """Padded tokens of a batch at most; less than configured once memory has run out."""
        return self._network.batch_tokens

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text with the document prompt and special tokens, before anything is cut."""
        return self._tokenizer.count(texts, self._document.text)

    def prepare(self, texts: Sequence[str]) -> Prepared:
        """Texts to be stored, as token ids; the model itself is not run."""
        unique = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        read = self._tokenizer.read_windows if self._config.long_text == "mean" else self._tokenizer.read
        return Prepared(tuple(read(list(unique), self._document.text)), tuple(unique[text] for text in texts))

    def encode_documents(self, texts: Sequence[str] | Prepared) -> Encoded:
        """Vectors of texts as they are stored. A text that gives none is in `refused`, never an exception.

        Raise PersonNeeded when the device fails or one text alone exceeds its memory.
        """
        prepared = texts if isinstance(texts, Prepared) else self.prepare(texts)
        encoded = self._finish(prepared, self._document.layout, self._too_long(prepared))
        give_back_memory()
        return encoded

    def encode_query(self, text: str) -> Vector:
        """The vector of a search text, float32, shape (dimension,), cut to the window whatever `long_text` says.

        Raise MigrationError when the model gives none.
        """
        passages = self._tokenizer.read([text], self._query.text)
        encoded = self._finish(Prepared(tuple(passages), (0,)), self._query.layout, {})
        for code, reason in encoded.refused.values():
            raise MigrationError(f"the query has no vector ({code}): {reason}")
        vector: Vector = encoded.vectors[0]
        return vector

    def _too_long(self, prepared: Prepared) -> dict[int, Refusal]:
        if self._config.long_text != "reject":
            return {}
        return {
            place: ("too-long", f"{passage.length} tokens, and the model reads {self.window}")
            for place, passage in enumerate(prepared.passages)
            if passage.is_cut
        }

    def _finish(self, prepared: Prepared, layout: Layout, refused: dict[int, Refusal]) -> Encoded:
        """Run every passage that is not refused yet and spread the vectors over the texts."""
        rows = [
            () if place in refused else tuple(row for row in passage.rows if row)
            for place, passage in enumerate(prepared.passages)
        ]
        flat: list[Ids] = list(chain.from_iterable(rows))
        outputs, padded = self._network.run(flat, layout) if flat else (np.empty((0, self.dimension), np.float32), 0)
        vectors = self._average(outputs, prepared.passages, [len(mine) for mine in rows])
        vectors, failed = judge_vectors(vectors, normalize=self._config.normalize)
        refused = {**failed, **refused}
        owners = np.asarray(prepared.owners, dtype=np.intp)
        return Encoded(
            vectors=vectors[owners],
            refused={text: refused[owner] for text, owner in enumerate(prepared.owners) if owner in refused},
            truncated=tuple(self._is_truncated(prepared.passages[owner]) for owner in prepared.owners),
            tokens=sum(map(len, flat)),
            padded_tokens=padded,
        )

    def _is_truncated(self, passage: Passage) -> bool:
        return passage.is_cut and self._config.long_text == "truncate"

    def _average(self, outputs: Vector, passages: Sequence[Passage], counts: Sequence[int]) -> Vector:
        """One vector a passage: the mean of its windows by their tokens; zeros where nothing was run."""
        vectors: Vector = np.zeros((len(passages), self.dimension), dtype=np.float32)
        start = 0
        for place, count in enumerate(counts):
            mine = outputs[start : start + count]
            if count == 1:
                vectors[place] = mine[0]
            elif count:
                vectors[place] = self._mean(mine, passages[place].weights)
            start += count
        return vectors

    def _mean(self, windows: Vector, weights: Sequence[int]) -> Vector:
        mean: Vector = np.average(windows, axis=0, weights=weights).astype(np.float32)
        # A model that ends in Normalize gives unit vectors; the mean of several is shorter than they are.
        return mean / max(float(np.linalg.norm(mean)), SMALLEST_NORM) if self._renormalizes else mean


def judge_vectors(vectors: Vector, *, normalize: bool) -> tuple[Vector, dict[int, Refusal]]:
    """Rows that are finite and not zero, of unit length if `normalize`; the others as zeros, with code and reason."""
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    finite = np.isfinite(norms)
    usable = finite & (norms > SMALLEST_NORM)
    judged = np.zeros_like(vectors)
    judged[usable] = vectors[usable] / (norms[usable, None] if normalize else 1.0)
    refused = {
        int(row): ("zero-vector", "the model gives a vector of zeros")
        if finite[row]
        else ("not-finite", "the model gives infinity or NaN")
        for row in np.flatnonzero(~usable)
    }
    return judged, refused
