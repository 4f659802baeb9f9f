"""The precision of losses: at least fp32, whatever the autocast."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_fp32(x: Tensor) -> Tensor:
    """Return `x` in fp32; fp64 stays fp64."""
    return x if x.dtype == torch.float64 else x.float()


def outside_autocast(x: Tensor) -> torch.autocast:
    """Return a context in which operations on the device of `x` compute in the dtype of their inputs."""
    return torch.autocast(x.device.type, enabled=False)
