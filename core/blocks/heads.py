"""The small networks between features and losses."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def projection_head(dim: int, width: int, out: int, layers: int = 2) -> nn.Sequential:
    """Return an MLP with batch norm: `layers` linear maps from `dim` over `width` to `out` (SimCLR, appendix B)."""
    hidden, last = _hidden(dim, width, layers)
    return nn.Sequential(*hidden, nn.Linear(last, out, bias=False), nn.BatchNorm1d(out, affine=False))


def prediction_head(dim: int, width: int, out: int, layers: int = 2) -> nn.Sequential:
    """Return the same MLP, whose last linear map stands alone: no batch norm after it (BYOL, section 3.3)."""
    hidden, last = _hidden(dim, width, layers)
    return nn.Sequential(*hidden, nn.Linear(last, out))


def bottleneck_head(dim: int, width: int, out: int, layers: int = 3, batch_norm: bool = False) -> nn.Sequential:
    """Return an MLP of GELUs between small initial weights, with batch norm before them if asked (DINO, appendix C)."""
    sizes = [dim, *[width] * (layers - 1), out]
    modules: list[nn.Module] = []
    for a, b in pairwise(sizes):
        linear = nn.Linear(a, b)
        nn.init.trunc_normal_(linear.weight, std=0.02)
        nn.init.zeros_(linear.bias)
        modules += [linear, *([nn.BatchNorm1d(b)] if batch_norm else []), nn.GELU()]
    return nn.Sequential(*modules[: -2 if batch_norm else -1])


class Prototypes(nn.Module):
    """Learned directions that rows are compared with: DINO's weight-normed last layer, SwAV's prototypes.

    Args:
        dim: width of the rows.
        count: K, how many.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, dim))

    def forward(self, x_ND: Tensor, learn: Tensor | None = None) -> Tensor:
        """Return the cosine (N, K) of each row with each prototype.

        Args:
            x_ND: rows, any scale.
            learn: bool scalar; where it is False the prototypes receive a gradient of zero. None is True.
        """
        # Outside autocast: a temperature of .04 would magnify the rounding of half precision 25 times.
        with torch.autocast(x_ND.device.type, enabled=False):
            weight_KD = self.weight if learn is None else torch.where(learn, self.weight, self.weight.detach())
            return F.normalize(x_ND.to(weight_KD.dtype), dim=-1) @ F.normalize(weight_KD, dim=-1).T


class PrototypeHead(nn.Module):
    """A bottleneck head and the prototypes behind it: DINO's head (Caron et al. 2021, appendix C).

    Args:
        dim: width of the features.
        width: hidden width.
        bottleneck: width of the space of the prototypes.
        count: K, how many prototypes.
        batch_norm: whether the hidden layers have batch norm.
    """

    def __init__(self, dim: int, width: int, bottleneck: int, count: int, batch_norm: bool = False) -> None:
        super().__init__()
        self.project = bottleneck_head(dim, width, bottleneck, batch_norm=batch_norm)
        self.prototypes = Prototypes(bottleneck, count)

    def forward(self, x_ND: Tensor, learn: Tensor | None = None) -> Tensor:
        """Return scores (N, K); for `learn` see `Prototypes`."""
        return self.prototypes(self.project(x_ND), learn)


def _hidden(dim: int, width: int, layers: int) -> tuple[list[nn.Module], int]:
    """Return all but the last of `layers` linear maps, each with batch norm and ReLU, and the width they end in."""
    modules: list[nn.Module] = []
    for _ in range(layers - 1):
        modules += [nn.Linear(dim, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        dim = width
    return modules, dim
