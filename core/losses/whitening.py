"""W-MSE: mean squared error of whitened views; whitening prevents collapse without a penalty.

Letters: B this rank's rows, M joined rows of all ranks, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.losses.arguments import check_pairs
from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.parallel import collectives

MIN_VARIANCE = 1e-8
"""Variance below which rows count as equal, so that whitening does not amplify rounding errors."""


def whitening_mse(z1_BD: Tensor, z2_BD: Tensor, shrink: float = 1e-3) -> Tensor:
    """W-MSE: mean squared distance of whitened, normalized views (Ermolov et al. 2021, eq. 3 to 5).

    Both views are whitened together, by the Cholesky factor of the joined batch's covariance, in double precision: in
    single precision the factor of a covariance of nearly dependent dimensions is lost. The paper whitens random
    slices of the batch and averages; here all rows are one slice, which more rows than dimensions allow. Rows of all
    ranks are joined first, so every rank computes the whole loss; the mean over ranks is that loss.

    Args:
        z1_BD: this rank's rows of the first view.
        z2_BD: the same records' rows of the second view.
        shrink: weight of the identity, times the mean variance, in the shrunk covariance, in [0, 1]; it alone gives
            full rank when there are fewer rows than dimensions.

    Returns:
        The loss of the joined batch, a scalar, the same on every rank; its mean over ranks is itself, and the mean of
        gradients that of the joined batch.
    """
    check_pairs(z1_BD, z2_BD)
    with outside_autocast(z1_BD):
        z1_MD, z2_MD = collectives.all_gather(z1_BD.double())[0], collectives.all_gather(z2_BD.double())[0]
        both_ND = whitened(torch.cat([z1_MD, z2_MD]), shrink)
        w1_MD, w2_MD = F.normalize(both_ND, dim=1).chunk(2) if len(both_ND) else (both_ND, both_ND)
        loss = (w1_MD - w2_MD).square().sum() / max(len(z1_MD), 1)
        return loss.to(at_least_fp32(z1_BD).dtype)


def whitened(x_ND: Tensor, shrink: float) -> Tensor:
    """Return rows of mean 0 whose covariance is the identity, but for the shrinkage; all-equal rows become zero.

    Args:
        x_ND: float64.
        shrink: as in `whitening_mse`.
    """
    n, d = x_ND.shape
    centered_ND = x_ND - x_ND.sum(0) / max(n, 1)
    covariance_DD = centered_ND.T @ centered_ND / max(n - 1, 1)
    mean_variance = covariance_DD.diagonal().mean() + MIN_VARIANCE
    eye_DD = torch.eye(d, dtype=x_ND.dtype, device=x_ND.device)
    # The shrunk covariance is positive definite, unless the rows are non-finite: then so is the loss, and nothing asks
    # the device whether the factor exists.
    factor_DD, failed = torch.linalg.cholesky_ex((1 - shrink) * covariance_DD + shrink * mean_variance * eye_DD)
    factor_DD = torch.where(failed > 0, torch.nan, factor_DD)
    return torch.linalg.solve_triangular(factor_DD, centered_ND.T, upper=False).T
