"""Random draws of augmentation parameters.

Parameters are drawn on the CPU, whole batches at once, and sent to the device: if a draw on a GPU decided which rows an
operation touches, the CPU would wait for the GPU.
"""

from __future__ import annotations

from hashlib import blake2b

import torch
from torch import Tensor


def host_generator(rng: torch.Generator) -> torch.Generator:
    """Return a CPU generator seeded from the state of `rng`, and advance `rng`, without waiting for its device."""
    if rng.device.type == "cpu":
        return rng
    state = rng.get_state().numpy().tobytes()  # on the host for every device
    torch.rand(1, generator=rng, device=rng.device)
    seed = int.from_bytes(blake2b(state, digest_size=8).digest(), "big") >> 1
    return torch.Generator().manual_seed(seed)


def uniform(n: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    """Return n numbers uniform in [low, high), float64 on the CPU."""
    return torch.rand(n, generator=rng, dtype=torch.float64) * (high - low) + low


def bernoulli(n: int, p: float, rng: torch.Generator) -> Tensor:
    """Return n flags, each True with probability p."""
    return torch.rand(n, generator=rng) < p


def permutations(n: int, items: int, rng: torch.Generator) -> Tensor:
    """Return n random permutations of `items` items, int64 (n, items)."""
    return torch.rand(n, items, generator=rng).argsort(dim=1)
