"""Random draws of augmentation parameters.

Parameters are drawn on the CPU, whole batches at once, and sent to the device: if a draw on a GPU decided which rows an
operation touches, the CPU would wait for the GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor


def uniform(size: int | tuple[int, ...], low: float, high: float, rng: torch.Generator) -> Tensor:
    """Return numbers uniform in [low, high), float64 of some size, rows along the first axis, on the CPU."""
    return torch.rand(size, generator=rng, dtype=torch.float64) * (high - low) + low


def bernoulli(n: int, p: float, rng: torch.Generator) -> Tensor:
    """Return n flags, each True with probability p."""
    return torch.rand(n, generator=rng) < p


def permutations(n: int, items: int, rng: torch.Generator) -> Tensor:
    """Return n random permutations of `items` items, int64 (n, items)."""
    return torch.rand(n, items, generator=rng).argsort(dim=1)
