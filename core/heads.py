"""The small networks between features and losses."""

from __future__ import annotations

from torch import nn


def projection_head(dim: int, width: int, out: int, layers: int = 2) -> nn.Sequential:
    """Return an MLP with batch norm: `layers` linear maps from `dim` over `width` to `out` (SimCLR, appendix B)."""
    sizes = [dim, *[width] * (layers - 1), out]
    modules: list[nn.Module] = []
    for i, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False)):
        last = i == layers - 1
        modules += [nn.Linear(a, b, bias=False), nn.BatchNorm1d(b, affine=not last)]
        modules += [] if last else [nn.ReLU(inplace=True)]
    return nn.Sequential(*modules)
