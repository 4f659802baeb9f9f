"""Where views draw their parameters.

Parameters are drawn on the CPU, whole batches at once, and sent to the device: a draw on a GPU whose outcome decides
which rows an operation touches would make the CPU wait for the GPU.
"""

from __future__ import annotations

from hashlib import blake2b

import torch
from torch import Tensor


def host(rng: torch.Generator) -> torch.Generator:
    """Return a CPU generator that continues from `rng`, and move `rng` on, without waiting for its device."""
    if rng.device.type == "cpu":
        return rng
    state = rng.get_state().numpy().tobytes()  # lies on the host for every device
    torch.rand(1, generator=rng, device=rng.device)
    seed = int.from_bytes(blake2b(state, digest_size=8).digest(), "big") >> 1
    return torch.Generator().manual_seed(seed)


def uniform(n: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    """Return n numbers from [low, high), float64 on the CPU."""
    return torch.rand(n, generator=rng, dtype=torch.float64) * (high - low) + low


def chosen(n: int, p: float, rng: torch.Generator) -> Tensor:
    """Return n flags, each True with probability p."""
    return torch.rand(n, generator=rng) < p


def permutations(n: int, items: int, rng: torch.Generator) -> Tensor:
    """Return n random orders of `items` things, int64 (n, items)."""
    return torch.rand(n, items, generator=rng).argsort(dim=1)
