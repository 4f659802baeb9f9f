"""The small networks between features and losses."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.losses.precision import outside_autocast


def projection_head(dim: int, width: int, out: int, layers: int = 2) -> nn.Sequential:
    """Return an MLP with batch norm: `layers` linear maps from `dim` over `width` to `out` (SimCLR, appendix B).

    Args:
        dim: width of the input.
        width: of the hidden layers.
        out: width of the output.
        layers: number of linear maps, >= 1.
    """
    hidden, last = _hidden(dim, width, layers)
    return nn.Sequential(*hidden, nn.Linear(last, out, bias=False), nn.BatchNorm1d(out, affine=False))


def prediction_head(dim: int, width: int, out: int, layers: int = 2) -> nn.Sequential:
    """Return the same MLP without batch norm after its last linear map (BYOL, section 3.3).

    Args:
        dim: width of the input.
        width: of the hidden layers.
        out: width of the output.
        layers: number of linear maps, >= 1.
    """
    hidden, last = _hidden(dim, width, layers)
    return nn.Sequential(*hidden, nn.Linear(last, out))


def bottleneck_head(dim: int, width: int, out: int, layers: int = 3, batch_norm: bool = False) -> nn.Sequential:
    """Return an MLP with GELU, small initial weights and optional batch norm (DINO, appendix C).

    Args:
        dim: width of the input.
        width: of the hidden layers.
        out: width of the output.
        layers: number of linear maps, >= 1.
        batch_norm: whether hidden layers have batch norm.
    """
    sizes = [dim, *[width] * (layers - 1), out]
    modules: list[nn.Module] = []
    for a, b in pairwise(sizes):
        linear = nn.Linear(a, b)
        nn.init.trunc_normal_(linear.weight, std=0.02)
        nn.init.zeros_(linear.bias)
        modules += [linear, *([nn.BatchNorm1d(b)] if batch_norm else []), nn.GELU()]
    return nn.Sequential(*modules[: -2 if batch_norm else -1])


class Prototypes(nn.Module):
    """Prototypes: DINO's weight-normalized last layer, SwAV's cluster prototypes.

    Args:
        dim: width of the rows.
        count: K, number of prototypes.
    """

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, dim))

    def forward(self, x_ND: Tensor, trainable: Tensor | None = None) -> Tensor:
        """Return the cosine (N, K) of each row with each prototype.

        Args:
            x_ND: rows, any norm.
            trainable: bool scalar; where it is False the prototypes receive a gradient of zero. None is True.
        """
        # Outside autocast: a temperature of 0.04 would amplify the rounding of half precision 25 times.
        with outside_autocast(x_ND):
            weight_KD = self.weight if trainable is None else torch.where(trainable, self.weight, self.weight.detach())
            return F.normalize(x_ND.to(weight_KD.dtype), dim=-1) @ F.normalize(weight_KD, dim=-1).T


class PrototypeHead(nn.Module):
    """DINO head: a bottleneck MLP and prototypes (Caron et al. 2021, appendix C).

    Args:
        dim: width of the features.
        width: hidden width.
        bottleneck: width of the bottleneck, the space of the prototypes.
        count: K, number of prototypes.
        batch_norm: whether the hidden layers have batch norm.
    """

    def __init__(self, dim: int, width: int, bottleneck: int, count: int, batch_norm: bool = False) -> None:
        super().__init__()
        self.project = bottleneck_head(dim, width, bottleneck, batch_norm=batch_norm)
        self.prototypes = Prototypes(bottleneck, count)

    def forward(self, x_ND: Tensor, trainable: Tensor | None = None) -> Tensor:
        """Return scores (N, K); for `trainable` see `Prototypes`."""
        return self.prototypes(self.project(x_ND), trainable)


def _hidden(dim: int, width: int, layers: int) -> tuple[list[nn.Module], int]:
    """Return all but the last of `layers` linear maps, each with batch norm and ReLU, and the width they end in."""
    modules: list[nn.Module] = []
    for _ in range(layers - 1):
        modules += [nn.Linear(dim, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        dim = width
    return modules, dim
