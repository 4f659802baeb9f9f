"""VISReg: variance-invariance-sketching regularization.

Rows of all ranks are joined before they are sorted; the mean over ranks of each term is that of the joined batch, and
so is its gradient.

Letters: B this rank's rows, M joined rows of all ranks, V views, D width, S directions.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sensorium.losses.masked import masked_regression
from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.parallel import collectives

EPSILON = 1e-4
"""Added to the std by which rows are divided before their shape is compared."""


class VISRegTerms(NamedTuple):
    """The regularization of VISReg in its parts, scalars, unweighted.

    Args:
        scale: mean squared deviation of each dimension's std from 1.
        shape: mean squared difference of sorted projections, of standardized rows, and the Gaussian's quantiles.
        center: mean squared mean of each dimension.
    """

    scale: Tensor
    shape: Tensor
    center: Tensor


def global_view_prediction(z_BVD: Tensor, global_views: int) -> Tensor:
    """Mean squared error of every view and the mean of the global ones (Balestriero and LeCun 2025, algorithm 2).

    Args:
        z_BVD: this rank's projections of V views; computed in fp32 (fp64 stays).
        global_views: number of global views, the first ones, 1 to V.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    center_B1D = z_BVD[:, :global_views].mean(1, keepdim=True)
    every_BV = torch.ones_like(z_BVD[..., 0], dtype=torch.bool)
    return masked_regression(z_BVD, center_B1D.expand_as(z_BVD), every_BV)


def visreg(z_BVD: Tensor, directions_DS: Tensor) -> VISRegTerms:
    """Return the regularization of VISReg (Wu et al. 2026, algorithm 1): scale, shape and center (eq. 1, 5 and 6).

    Every view is a sample of its own, with its own mean, std and order along each direction; a term is the mean over
    views. The std by which rows are divided for the shape is stop-gradient (eq. 2), so that the scale alone sets it.

    Args:
        z_BVD: this rank's projections of V views; computed in fp32 (fp64 stays).
        directions_DS: unit columns, the same on every rank (`random_directions`), drawn anew for each step.

    Returns:
        The terms of the joined batch, the same on every rank, with the joined batch's gradient after the mean over
        ranks. One record alone has a scale term of 1 and no shape. Zero without rows.
    """
    with outside_autocast(z_BVD):
        z_MVD = collectives.all_gather(at_least_fp32(z_BVD))[0]
        if not len(z_MVD):
            return VISRegTerms(*(z_MVD.sum() for _ in range(3)))
        mean_VD, std_VD = z_MVD.mean(0), z_MVD.std(0, correction=0)
        standard_MVD = (z_MVD - mean_VD) / (std_VD.detach() + EPSILON)
        sorted_MVS = (standard_MVD @ directions_DS.to(z_MVD.dtype)).sort(dim=0).values
        shape = (sorted_MVS - _normal_quantiles(sorted_MVS)[:, None, None]).square().mean()
        return VISRegTerms((1 - std_VD).square().mean(), shape, mean_VD.square().mean())


def _normal_quantiles(x: Tensor) -> Tensor:
    """Return the standard Gaussian's quantiles at i / (M + 1) for the rows i = 1 to M of `x`, (M,)."""
    probability_M = torch.arange(1, len(x) + 1, dtype=x.dtype, device=x.device) / (len(x) + 1)
    return math.sqrt(2) * torch.erfinv(2 * probability_M - 1)
