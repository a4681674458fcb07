"""What runs behind the walls: weights out of a pickle, and the vectors that a directory gives."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from byov_migrate.config import ModelConfig
from byov_migrate.embed.encoder import load_encoder
from byov_migrate.embed.library import first_line, require_libraries
from byov_migrate.errors import ConfigurationError, MigrationError
from byov_migrate.records import Vector

_SAVE_AGAIN = "load it where it was trained and save it with save_pretrained, which writes safetensors"
_NOT_PLAIN = "export its weights alone, where it was trained: torch.save(model.state_dict(), FILE)"


def run(job: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The job's reply; `refused` and `next_step` when what it was given cannot be used."""
    jobs: dict[str, Callable[..., dict[str, Any]]] = {
        "weights": _weights,
        "old-vectors": _old_vectors,
        "new-vectors": _new_vectors,
    }
    try:
        return jobs[job](**arguments)
    except MigrationError as error:
        return {"refused": str(error), "next_step": error.next_step}


def _weights(pickled: str, weights: str) -> dict[str, Any]:
    """Write the tensors of a pickle as safetensors; `tensors`: how many."""
    require_libraries()
    from safetensors.torch import save_file

    tensors = _unshared(_read_pickle(Path(pickled)))
    save_file(tensors, weights, metadata={"format": "pt"})  # transformers asks for this mark
    return {"tensors": len(tensors)}


def _read_pickle(path: Path) -> dict[str, Any]:
    """Names and tensors. Raise ConfigurationError for a file that asks for more, that is broken or too large."""
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConfigurationError(f"{path.name} {_what_it_wants(error)}", next_step=_NOT_PLAIN) from error
    except Exception as error:  # whatever torch raises for a file that is cut off or no pickle at all
        raise ConfigurationError(f"{path.name} cannot be read: {first_line(error)}", next_step=_SAVE_AGAIN) from error
    _check_tensors(path, content)
    return dict(content)


def _what_it_wants(error: pickle.UnpicklingError) -> str:
    # torch has no field for it; without the name the sentence is still true
    wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
    name = f" ({wanted[1]})" if wanted else ""
    return f"needs more than weights to be read{name}: it could run code"


def _check_tensors(path: Path, content: Any) -> None:
    import torch

    entries = content if isinstance(content, Mapping) else {}
    if not entries:
        raise ConfigurationError(f"{path.name} holds no table of weights", next_step=_NOT_PLAIN)
    for name, tensor in entries.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ConfigurationError(
                f"{path.name} holds more than weights: {name!r} ({type(tensor).__name__})", next_step=_NOT_PLAIN
            )
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
            raise ConfigurationError(f"{path.name}: {name} is no plain tensor", next_step=_SAVE_AGAIN)


def _unshared(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The same, each tensor with memory of its own: safetensors refuses two names for one memory."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        is_whole = tensor.is_contiguous() and place not in seen
        separate[name] = tensor.detach() if is_whole else tensor.detach().clone().contiguous()
        seen.add(place)
    return separate


def _old_vectors(directory: str, texts: list[str], vectors: str) -> dict[str, Any]:
    """What the library itself makes of the texts, from a directory with pickles, weights alone."""
    require_libraries()
    import torch
    from sentence_transformers import SentenceTransformer

    try:
        model = SentenceTransformer(
            directory,
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": torch.float32},
        )
        # An empty prompt, so that a default one of the directory is not put in front.
        encoded = model.eval().encode(texts, prompt="", show_progress_bar=False)
    except Exception as error:  # whatever three libraries raise for a directory they cannot read
        raise ConfigurationError(f"it cannot be run as it is: {first_line(error)}", next_step=_SAVE_AGAIN) from error
    return _keep(vectors, encoded)


def _new_vectors(directory: str, texts: list[str], vectors: str) -> dict[str, Any]:
    """What a migration would make of them."""
    encoder = load_encoder(ModelConfig(path=Path(directory), device="cpu", dtype="float32"))
    return _keep(vectors, encoder.encode_documents(texts).vectors)


def _keep(place: str, vectors: Vector) -> dict[str, Any]:
    np.save(place, vectors, allow_pickle=False)
    return {}
