"""Contrast whose normalizers are running means over all records, so that small batches will do.

A record's mean over negatives is noisy in a small batch; a mean that runs over the steps is not (Yuan et al. 2022).

Letters: B this rank's pairs, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.contrastive import global_index, own_index
from sensorium.losses.engine import LOG_ZERO, Embeddings, log_sum_exp
from sensorium.losses.precision import outside_autocast
from sensorium.parallel import collectives


def log_normalizers(x_BD: Tensor, y_BD: Tensor, scale: Tensor | float, groups_B: Tensor | None = None) -> Tensor:
    """Return (B, 2), the log of the mean over negatives of exp(logit - own logit), for rows of `x` and of `y`.

    Args:
        x_BD: this rank's rows of one modality, any scale; they are normalized here.
        y_BD: the rows that belong to them, of the other.
        scale: what cosines are multiplied with, one over the temperature.
        groups_B: int64 ids, the same on every rank; records of one id are no negatives of each other. None makes
            every record a group of its own.

    Returns:
        The logs, differentiable; `LOG_ZERO` for a row without a negative.
    """
    with outside_autocast(x_BD):
        sizes = collectives.rank_sizes(len(x_BD), x_BD.device)
        ids_B = global_index(sizes, x_BD.device) if groups_B is None else groups_B
        x, y = Embeddings(x_BD, ids_B), Embeddings(y_BD, ids_B)
        sums = log_sum_exp(x, y, sizes, scale, (1.0, 0.0), columns=True, positive_N=own_index(x_BD))
        gaps = [
            torch.where(s_B2[:, 1] > LOG_ZERO / 2, s_B2[:, 0] - s_B2[:, 1] - sums.own, LOG_ZERO)
            for s_B2 in (sums.rows, sums.columns)
        ]
        return torch.stack(gaps, dim=1)


def log_ema(before: Tensor, now: Tensor, rate: Tensor | float) -> Tensor:
    """Return log((1 - rate) exp(before) + rate exp(now)); where one of them is `LOG_ZERO`, the other."""
    rate = torch.as_tensor(rate, dtype=now.dtype, device=now.device)
    moved = torch.logaddexp(torch.log1p(-rate) + before, rate.log() + now)
    moved = torch.where(before > LOG_ZERO / 2, moved, now)
    return torch.where(now > LOG_ZERO / 2, moved, before)


def global_contrastive(gaps_B2: Tensor, running_B2: Tensor, temperature: Tensor, rho: float) -> Tensor:
    """Robust global contrast of paired rows (Wei et al. 2024, FastCLIP, eq. RGCL-g).

    The value is temperature * (mean of log running, both sides, + 2 rho); the gradient of the log is that of the
    batch's mean over the running one.

    Args:
        gaps_B2: what `log_normalizers` returned.
        running_B2: the running means as logs, moved to hold `gaps_B2`; they carry no gradient.
        temperature: scalar, learned; one over the scale of the gaps.
        rho: what holds the temperature up: at its optimum a row's negatives have a divergence of about rho.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch. A row without a negative costs nothing.
    """
    known_B2 = gaps_B2 > LOG_ZERO / 2
    ratio_B2 = torch.where(known_B2, gaps_B2 - running_B2.detach(), 0.0).exp()
    value_B2 = torch.where(known_B2, running_B2.detach() + ratio_B2 - ratio_B2.detach(), 0.0)
    return collectives.share((temperature * (value_B2 + rho)).sum(), collectives.count_rows(gaps_B2))
