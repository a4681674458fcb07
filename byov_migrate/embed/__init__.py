"""Texts to float32 vectors on this machine: model directories, fingerprint, batches, device, encoder."""

from __future__ import annotations

from byov_migrate.embed.description import ModelDescription, ModelIdentity, describe, identify
from byov_migrate.embed.encoder import Encoded, Encoder, load_encoder
from byov_migrate.embed.encoding import Prepared

__all__ = [
    "Encoded",
    "Encoder",
    "ModelDescription",
    "ModelIdentity",
    "Prepared",
    "describe",
    "identify",
    "load_encoder",
]
