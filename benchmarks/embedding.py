"""The embedding stage: `python benchmarks/embedding.py [--full]`.

Against the bare forward pass over the same texts sorted by exact token length, in the same number format; against
`encode` of sentence-transformers with its defaults; how much is padding; what the number format changes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rig

from byov_migrate.embed import load_encoder
from byov_migrate.embed.budget import padded_tokens, plan_batches
from byov_migrate.embed.network import lay_out
from byov_migrate.records import Vector

NEAREST = 10
QUERIES = 50


@dataclass
class Counting:
    """An encoder that adds up what it computes."""

    encoder: Any
    tokens: int = 0
    padded_tokens: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)

    def encode_documents(self, content: Any) -> Any:
        """As the encoder's."""
        encoded = self.encoder.encode_documents(content)
        self.tokens += encoded.tokens
        self.padded_tokens += encoded.padded_tokens
        return encoded


@dataclass(frozen=True)
class Unrun:
    """Cuts batches as a network does and computes nothing: padding is a matter of arithmetic alone."""

    batch_tokens: int
    dimension: int

    def run(self, rows: Sequence[Sequence[int]], _layout: Any) -> tuple[Vector, int]:
        """Any vectors, and the tokens that would have been computed."""
        lengths = [len(row) for row in rows]
        batches = plan_batches(lengths, self.batch_tokens)
        vectors: Vector = np.ones((len(rows), self.dimension), dtype=np.float32)
        return vectors, sum(padded_tokens(lengths, batch) for batch in batches)


class Bare:
    """Token ids on the device, in batches of nearly one length; then the transformer alone, without pooling."""

    def __init__(self, encoder: Any, texts: Sequence[str]) -> None:
        import torch

        [network] = encoder._network._networks  # noqa: SLF001 - the ceiling is taken on the very same weights
        self._model = network._model[0].auto_model  # noqa: SLF001
        rows = [passage.rows[0] for passage in encoder.prepare(texts).passages]
        lengths = [len(row) for row in rows]
        self._batches = []
        for batch in plan_batches(lengths, encoder.batch_tokens):
            ids, mask = lay_out([rows[index] for index in batch], network_layout(encoder))
            tensors = {"input_ids": torch.from_numpy(ids).to(network._device)}  # noqa: SLF001
            if not mask.all():  # without padding there is nothing to mask, and that is faster
                tensors["attention_mask"] = torch.from_numpy(mask).to(network._device)  # noqa: SLF001
            self._batches.append(tensors)

    def run(self) -> float:
        """Seconds of one pass over everything."""
        import torch

        def forward() -> None:
            with torch.inference_mode():
                for batch in self._batches:
                    last = self._model(**batch).last_hidden_state
                last[0, 0, 0].item()  # a GPU is waited for

        return rig.seconds(forward)


def network_layout(encoder: Any) -> Any:
    """How rows of documents become a batch."""
    return encoder._document.layout  # noqa: SLF001


def plain_s(path: Path, texts: Sequence[str]) -> float:
    """Seconds of `encode` over all texts, with its defaults; loading apart."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(path), local_files_only=True)
    model.encode(list(texts[:8]))
    return rig.seconds(lambda: model.encode(list(texts)))


def against_ceiling(name: str, path: Path, dtype: str, texts: Sequence[str], rounds: int) -> Iterator[rig.Finding]:
    """The stage, the bare forward pass, and `encode`, in turn."""
    encoder = load_encoder(rig.model_config(path, dtype))
    bare = Bare(encoder, texts)
    rig.stage_s(encoder, texts[:20])
    bare.run()
    took = rig.alternate(
        rounds,
        stage=lambda: rig.stage_s(encoder, texts),
        bare=bare.run,
        plain=lambda: plain_s(path, texts),
    )
    stage, ceiling, plain = (len(texts) / took[key] for key in ("stage", "bare", "plain"))
    where = f"{name}, {encoder.dtype} on {encoder.device}, {len(texts):,} postings"
    yield rig.Finding(
        f"embedding stage against the bare forward pass, {where}",
        ">= 0.95",
        f"{stage:.1f} against {ceiling:.1f} texts/s",
        f"{stage / ceiling:.3f}",
        "none",
        stage / ceiling >= 0.95,
    )
    yield rig.Finding(
        f"embedding stage against `encode` of sentence-transformers as it comes (float32), {where}",
        "",
        f"{stage:.1f} against {plain:.1f} texts/s",
        f"{stage / plain:.2f} x",
        "none",
    )


def padding(name: str, path: Path, texts: Sequence[str]) -> rig.Finding:
    """Padded over real tokens of the stage."""
    loaded = load_encoder(rig.model_config(path))
    loaded._network = Unrun(loaded.batch_tokens, loaded.dimension)  # type: ignore[assignment]  # noqa: SLF001
    encoder = Counting(loaded)
    rig.stage_s(encoder, texts)
    waste = encoder.padded_tokens / encoder.tokens
    words = [len(text.split()) for text in texts]
    return rig.Finding(
        f"padding, {len(texts):,} texts of {min(words)} to {max(words):,} words, {name}, {encoder.window} tokens",
        "<= 1.05",
        f"{encoder.padded_tokens:,} tokens computed for {encoder.tokens:,}",
        f"{waste:.3f}",
        "none",
        waste <= 1.05,
    )


def number_format(name: str, path: Path, texts: Sequence[str]) -> rig.Finding | None:
    """The automatic number format against float32: cosines of the same texts, and what a search finds."""
    encoder = load_encoder(rig.model_config(path))
    if encoder.dtype == "float32":
        return None
    own = encoder.encode_documents(texts)
    reference = load_encoder(rig.model_config(path, "float32")).encode_documents(texts)
    cosines = (own.vectors * reference.vectors).sum(axis=1) / (
        np.linalg.norm(own.vectors, axis=1) * np.linalg.norm(reference.vectors, axis=1)
    )
    mine, theirs = (_nearest(encoded.vectors) for encoded in (own, reference))
    same = [len(set(a) & set(b)) for a, b in zip(mine, theirs, strict=True)]
    exact = sum(list(a) == list(b) for a, b in zip(mine, theirs, strict=True))
    return rig.Finding(
        f"{encoder.dtype} against float32, {name}, {len(texts):,} postings, top {NEAREST} of {len(mine)} searches",
        "cosine >= 0.999, top 10 the same",
        f"cosine at least {cosines.min():.5f}, mean {cosines.mean():.5f}; the same {NEAREST} records in"
        f" {sum(count == NEAREST for count in same)} of {len(same)} searches ({exact} in the same order),"
        f" {sum(same) / len(same):.2f} of {NEAREST} on average",
        "",
        "none",
        bool(cosines.min() >= 0.999 and min(same) == NEAREST),
    )


def _nearest(vectors: Vector) -> Vector:
    """For some of the texts the nearest others, best first."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = unit[:QUERIES] @ unit.T
    scores[np.arange(len(scores)), np.arange(len(scores))] = -1
    nearest: Vector = np.argsort(-scores, axis=1, kind="stable")[:, :NEAREST]
    return nearest


def measure(options: rig.Options) -> Iterator[rig.Finding]:
    """MiniLM; in full also twelve layers of 768."""
    small = rig.small_model()
    postings = rig.posting_texts(2000 if options.full else 120)
    yield padding("MiniLM", small, rig.mixed_texts(3000 if options.full else 1500))
    yield from against_ceiling("MiniLM", small, "auto", postings, options.rounds)
    if finding := number_format("MiniLM", small, postings):
        yield finding
    if not options.full:
        return
    yield from against_ceiling("MiniLM", small, "float32", postings[:1000], options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        large = rig.large_model(Path(folder))
        for dtype in ("auto", "float32"):
            yield from against_ceiling("12 layers of 768", large, dtype, postings[:200], options.rounds)
        yield padding("12 layers of 768", large, rig.mixed_texts(500))


def main(arguments: Sequence[str] | None = None) -> list[rig.Finding]:
    """Measure and print."""
    return rig.run_alone(__doc__, measure, arguments)


if __name__ == "__main__":
    main()
