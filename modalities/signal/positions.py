"""Sinusoidal position embeddings (Vaswani et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor


def sinusoidal_positions(count: int, dim: int, device: torch.device | None = None) -> Tensor:
    """Return the embeddings of positions 0 to `count` - 1, float (T, D); D is even."""
    frequencies = 10000 ** (-torch.arange(dim // 2, device=device) / (dim // 2))
    angles = torch.arange(count, device=device)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
