"""Where a token stands, as sines and cosines (Vaswani et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor


def sine_cosine(count: int, dim: int, device: torch.device | None = None) -> Tensor:
    """Return float (T, D) for `count` places in a row; D is even."""
    frequencies = 10000 ** (-torch.arange(dim // 2, device=device) / (dim // 2))
    angles = torch.arange(count, device=device)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
