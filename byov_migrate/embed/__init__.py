"""Texts to float32 vectors on this machine: model directories, fingerprint, batches, device, encoder."""

from __future__ import annotations

from byov_migrate.embed.description import ModelDescription, describe
from byov_migrate.embed.encoder import Encoded, Encoder, load_encoder

__all__ = ["Encoded", "Encoder", "ModelDescription", "describe", "load_encoder"]
