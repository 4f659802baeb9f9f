"""Redundancy reduction: invariance between views and decorrelation of dimensions (Barlow Twins, VICReg).

Each view has its own statistics. Rows of all ranks are joined first, so every rank computes the whole loss; the mean
over ranks is that loss, and its gradient that of the joined batch.

Letters: B this rank's rows, M joined rows of all ranks, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.arguments import check_pairs
from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.parallel import collectives


def barlow_twins(z1_BD: Tensor, z2_BD: Tensor, redundancy: float = 0.005) -> Tensor:
    """Barlow Twins: the views' cross-correlation matrix approaches the identity (Zbontar et al. 2021, eq. 1 and 2).

    Args:
        z1_BD: this rank's rows of the first view.
        z2_BD: the same records' rows of the second view.
        redundancy: weight of the off-diagonal terms, >= 0; the paper's lambda is 0.005.

    Returns:
        The loss of the joined batch, a scalar, the same on every rank; its mean over ranks is itself, and the mean of
        gradients that of the joined batch.
    """
    check_pairs(z1_BD, z2_BD)
    with outside_autocast(z1_BD):
        z1_MD, z2_MD = _joined(z1_BD), _joined(z2_BD)
        correlation_DD = _standardized(z1_MD).T @ _standardized(z2_MD) / max(len(z1_MD), 1)
        on_diagonal = (correlation_DD.diagonal() - 1).square().sum()
        return on_diagonal + redundancy * _off_diagonal(correlation_DD).square().sum()


def vicreg(
    z1_BD: Tensor, z2_BD: Tensor, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0
) -> Tensor:
    """VICReg: variance, invariance and covariance regularization (Bardes et al. 2022, eq. 6 and algorithm 1).

    The invariance term is a mean over rows and dimensions, as in the paper's algorithm. The authors' code halves the
    variance term besides; `variance=12.5` is what it computes.

    Args:
        z1_BD: this rank's rows of the first view.
        z2_BD: the same records' rows of the second view.
        invariance: weight of the mean squared error between views, >= 0; the paper's is 25.
        variance: weight of the hinge loss on each dimension's std at 1, summed over views, >= 0; the paper's is 25.
        covariance: weight of the squared off-diagonal covariances, over D, summed over views, >= 0; the paper's is 1.

    Returns:
        The loss of the joined batch, a scalar, the same on every rank; its mean over ranks is itself, and the mean of
        gradients that of the joined batch.
    """
    check_pairs(z1_BD, z2_BD)
    with outside_autocast(z1_BD):
        z1_MD, z2_MD = _joined(z1_BD), _joined(z2_BD)
        m, d = max(len(z1_MD), 1), z1_MD.shape[1]
        loss = invariance * (z1_MD - z2_MD).square().sum() / (m * d)
        for z_MD in (z1_MD, z2_MD):
            centered_MD = z_MD - z_MD.sum(0) / m
            covariance_DD = centered_MD.T @ centered_MD / max(m - 1, 1)
            std_D = (covariance_DD.diagonal() + 1e-4).sqrt()
            loss = loss + variance * (1 - std_D).relu().mean()
            loss = loss + covariance * _off_diagonal(covariance_DD).square().sum() / d
        return loss


def _joined(z_BD: Tensor) -> Tensor:
    return collectives.all_gather(at_least_fp32(z_BD))[0]


def _standardized(z_MD: Tensor) -> Tensor:
    """Return rows whose dimensions have mean 0 and std 1 (biased, as batch norm's, with its epsilon)."""
    centered_MD = z_MD - z_MD.sum(0) / max(len(z_MD), 1)
    return centered_MD * (centered_MD.square().sum(0) / max(len(z_MD), 1) + 1e-5).rsqrt()


def _off_diagonal(x_DD: Tensor) -> Tensor:
    return x_DD - torch.diag(x_DD.diagonal())
