"""Metrics of feature collapse, and of how far two sets of features differ. They carry no gradient.

Letters: N rows, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.precision import outside_autocast
from sensorium.losses.unit_vectors import normalize_rows


@torch.no_grad()
def normalized_std(x_ND: Tensor) -> Tensor:
    """Return the mean std of unit rows times sqrt(D), a scalar: 0 when all rows coincide (Chen and He 2021).

    It is about 1 for a uniform distribution on the sphere.

    Args:
        x_ND: float, rows of any norm; they are normalized here.
    """
    with outside_autocast(x_ND):
        unit_ND = normalize_rows(x_ND)
        return unit_ND.std(dim=0, correction=0).mean() * unit_ND.shape[1] ** 0.5


@torch.no_grad()
def effective_rank(x_ND: Tensor) -> Tensor:
    """RankMe: exp of the entropy of the normalized singular values (Garrido et al. 2023), fp64 on the CPU.

    From 1, when all rows lie on one line, to the smaller of N and D; 0 when every row is zero, nan when one is not
    finite.

    Args:
        x_ND: float, rows of any norm.
    """
    x_ND = x_ND.double()
    gram = (x_ND.T @ x_ND if x_ND.shape[0] >= x_ND.shape[1] else x_ND @ x_ND.T).cpu()
    if not gram.isfinite().all():
        return gram.new_tensor(float("nan"))
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    total = values.sum()
    return torch.special.entr(values / total).sum().exp() if total > 0 else total


@torch.no_grad()
def linear_cka(x_ND: Tensor, y_NE: Tensor) -> Tensor:
    """Linear CKA of two sets of features of the same records, with unbiased estimates of HSIC (Nguyen et al. 2021).

    About 1 when one is a rotation of the other, times a scale, and about 0, of either sign, when they are independent,
    however few records there are; the biased estimate tends to 1 there. fp64; nan with fewer than four records, and
    when all rows of one coincide.

    Args:
        x_ND: float, features.
        y_NE: float, other features, of any width.
    """
    x_ND, y_NE = (rows.double() - rows.double().mean(dim=0) for rows in (x_ND, y_NE))
    own_x, own_y = _unbiased_hsic(x_ND, x_ND), _unbiased_hsic(y_NE, y_NE)
    if len(x_ND) < 4 or own_x <= 0 or own_y <= 0:
        return x_ND.new_tensor(float("nan"))
    return _unbiased_hsic(x_ND, y_NE) / (own_x * own_y).sqrt()


def _unbiased_hsic(x_ND: Tensor, y_NE: Tensor) -> Tensor:
    """Return the unbiased HSIC of linear kernels (Song et al. 2012), up to a factor, without a matrix N x N."""
    n = len(x_ND)
    own_x_N, own_y_N = x_ND.square().sum(dim=1), y_NE.square().sum(dim=1)
    sums_x_N, sums_y_N = x_ND @ x_ND.sum(dim=0) - own_x_N, y_NE @ y_NE.sum(dim=0) - own_y_N
    trace = (x_ND.T @ y_NE).square().sum() - own_x_N @ own_y_N
    return trace + sums_x_N.sum() * sums_y_N.sum() / ((n - 1) * (n - 2)) - 2 * (sums_x_N @ sums_y_N) / (n - 2)
