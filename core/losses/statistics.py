"""Metrics of feature collapse. They carry no gradient.

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
