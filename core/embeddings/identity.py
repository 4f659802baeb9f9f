"""What makes two embeddings the same: hashes of weights, of what modalities learned and of ids."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import torch

from sensorium.contracts import RecordColumns
from sensorium.models.model import Model

HASHED = 2**18
"""Ids that are hashed at once."""


def weights_hash(model: Model) -> str:
    """Return a hash of the weights of a model, buffers included."""
    digest = blake2b(digest_size=16)
    for name, tensor in sorted(model.learner.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def ids_hash(columns: RecordColumns, positions: np.ndarray) -> str:
    """Return a hash of the ids of the records at positions, int64 (M,), in order."""
    digest = blake2b(digest_size=16)
    for start in range(0, len(positions), HASHED):
        digest.update("\n".join(columns.ids_at(positions[start : start + HASHED])).encode() + b"\n")
    return digest.hexdigest()


def states_hash(model: Model) -> str:
    """Return a hash of what the modalities of a model learned, such as vocabularies."""
    states = {name: modality.state() for name, modality in sorted(model.plan.modalities.items())}
    return blake2b(repr(states).encode(), digest_size=16).hexdigest()
