"""The forward pass: rows of token ids to float32 vectors, in batches that fit the memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from byov_migrate.embed.budget import deal, padded_tokens, plan_batches
from byov_migrate.embed.tokens import Ids
from byov_migrate.errors import PersonNeeded
from byov_migrate.records import Vector

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Layout:
    """How rows become a batch for one model.

    pad_id, pads_left: the padding token and its side; segment_ids: whether they are expected; prompt_length: tokens
    at the beginning left out of pooling, None for none; kept_dimensions: of each vector, None for all.
    """

    pad_id: int = 0
    pads_left: bool = False
    segment_ids: bool = False
    prompt_length: int | None = None
    kept_dimensions: int | None = None


class Network:
    """The modules of a loaded SentenceTransformer. Out of memory halves `batch_tokens` for good and goes on."""

    def __init__(self, model: Any, device: str, batch_tokens: int) -> None:
        self._model = model
        self._device = device
        self.batch_tokens = batch_tokens

    def run(self, rows: Sequence[Ids], layout: Layout) -> tuple[Vector, int]:
        """Vectors, float32, shape (n, dimension), in the order of `rows`, and the padded tokens computed.

        There is at least one row and none is empty. Raise PersonNeeded when one alone does not fit or the device fails.
        """
        import torch

        lengths = [len(row) for row in rows]
        pending = plan_batches(lengths, self.batch_tokens)
        order: list[int] = []
        outputs: list[torch.Tensor] = []
        padded = 0
        with torch.inference_mode(), _device_faults(self._device):
            while pending:
                batch = pending[0]
                output = self._attempt([rows[index] for index in batch], layout)
                if output is None:
                    pending = self._replan(pending, lengths)
                    continue
                outputs.append(output)
                order += pending.pop(0)
                padded += padded_tokens(lengths, batch)
            flat = torch.cat(outputs).cpu().numpy()  # once, because every copy from a GPU waits for it
        vectors: Vector = np.empty_like(flat)
        vectors[order] = flat
        return vectors, padded

    def _attempt(self, rows: Sequence[Ids], layout: Layout) -> torch.Tensor | None:
        """Vectors of one batch on the device, None when its memory did not suffice."""
        import torch

        try:
            return self._forward(rows, layout)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
        # Outside of the handler: the exception's traceback would keep the tensors of the failed batch alive.
        if self._device.startswith("cuda"):
            torch.cuda.empty_cache()
        return None

    def _forward(self, rows: Sequence[Ids], layout: Layout) -> torch.Tensor:
        import torch

        ids, mask = lay_out(rows, layout)
        features: dict[str, Any] = {"input_ids": self._moved(ids), "modality": "text"}
        features["attention_mask"] = self._moved(mask)
        if layout.segment_ids:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        if layout.prompt_length is not None:
            features["prompt_length"] = layout.prompt_length
        output: torch.Tensor = self._model(features)["sentence_embedding"]
        return output[:, : layout.kept_dimensions].float()

    def _moved(self, array: np.ndarray[Any, Any]) -> torch.Tensor:
        import torch

        tensor = torch.from_numpy(array)
        if not self._device.startswith("cuda"):
            return tensor.to(self._device)
        # Only from pinned memory does a copy run beside the batch before; torch keeps the block until it is done.
        return tensor.pin_memory().to(self._device, non_blocking=True)

    def _replan(self, pending: Sequence[Sequence[int]], lengths: Sequence[int]) -> list[list[int]]:
        """What is left, in batches of half the size of the one that did not fit."""
        failed = pending[0]
        if len(failed) == 1:
            raise PersonNeeded(
                f"one text of {lengths[failed[0]]} tokens does not fit into the memory of {self._device}",
                next_step='free the device, set max_tokens lower, or set device = "cpu" for this model',
            )
        self.batch_tokens = padded_tokens(lengths, failed) // 2
        left = [index for batch in pending for index in batch]
        planned = plan_batches([lengths[index] for index in left], self.batch_tokens)
        return [[left[place] for place in batch] for batch in planned]


class Networks:
    """The same network on several devices, each with a thread and an equal share of every window."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = tuple(networks)

    @property
    def batch_tokens(self) -> int:
        """Of the device with the least memory."""
        return min(network.batch_tokens for network in self._networks)

    def run(self, rows: Sequence[Ids], layout: Layout) -> tuple[Vector, int]:
        """As `Network.run`."""
        if len(self._networks) == 1 or len(rows) < len(self._networks):
            return self._networks[0].run(rows, layout)
        shares = deal([len(row) for row in rows], len(self._networks))
        with ThreadPoolExecutor(len(shares), thread_name_prefix="byov-device") as workers:
            pairs = zip(self._networks, shares, strict=True)
            running = [workers.submit(network.run, [rows[n] for n in share], layout) for network, share in pairs]
        results = [future.result() for future in running]
        vectors: Vector = np.empty((len(rows), results[0][0].shape[1]), dtype=np.float32)
        for share, (some, _) in zip(shares, results, strict=True):
            vectors[share] = some
        return vectors, sum(padded for _, padded in results)


def lay_out(rows: Sequence[Ids], layout: Layout) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Token ids and attention mask, int64, shape (n, longest row)."""
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    width = int(lengths.max())
    places = np.arange(width)
    mask = places >= (width - lengths)[:, None] if layout.pads_left else places < lengths[:, None]
    ids = np.full(mask.shape, layout.pad_id, dtype=np.int64)
    ids[mask] = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
    return ids, mask.astype(np.int64)


def _is_out_of_memory(error: BaseException) -> bool:
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The CPU and MPS allocators raise a bare RuntimeError; their name in it is the only mark there is.
    return "DefaultCPUAllocator" in str(error) or "MPS backend out of memory" in str(error)


@contextmanager
def _device_faults(device: str) -> Iterator[None]:
    """Translate what a failing GPU raises; on a CPU an error of torch is a bug and is left alone."""
    import torch

    try:
        yield
    except torch.AcceleratorError as error:
        raise PersonNeeded(
            f"{device} failed while embedding: {str(error).splitlines()[0]}",
            next_step='look at nvidia-smi and the kernel log, then run again; device = "cpu" goes on without the GPU',
        ) from error
