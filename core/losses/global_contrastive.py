"""Global contrastive loss: log-normalizers are moving averages over the steps, so that small batches suffice.

A record's mean over the negatives of a small batch is noisy; its moving average is not (Yuan et al. 2022, SogCLR).

Letters: B this rank's pairs, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.arguments import check_pairs, check_positive
from sensorium.losses.contrastive import global_index, row_index
from sensorium.losses.engine import LOG_ZERO, Embeddings, log_sum_exp
from sensorium.losses.precision import outside_autocast
from sensorium.parallel import collectives


def log_normalizers(x_BD: Tensor, y_BD: Tensor, scale: Tensor | float, groups_B: Tensor | None = None) -> Tensor:
    """Return (B, 2), the log of the mean over negatives of exp(logit - positive logit), for rows of `x` and of `y`.

    Args:
        x_BD: this rank's embeddings of one modality, any norm; they are normalized here.
        y_BD: the paired embeddings of the other modality.
        scale: logit scale, > 0: one over the temperature.
        groups_B: int64 ids, the same on every rank; records of one id are no negatives of each other. None gives
            every record a unique id.

    Returns:
        The logs, differentiable; `LOG_ZERO` for a row without a negative.
    """
    check_pairs(x_BD, y_BD)
    check_positive("scale", scale)
    with outside_autocast(x_BD):
        sizes = collectives.rank_sizes(len(x_BD))
        ids_B = global_index(sizes, x_BD.device) if groups_B is None else groups_B
        x, y = Embeddings(x_BD, ids_B), Embeddings(y_BD, ids_B)
        sums = log_sum_exp(x, y, sizes, scale, (1.0, 0.0), columns=True, positive_N=row_index(x_BD))
        logs = [
            torch.where(s_B2[:, 1] > LOG_ZERO / 2, s_B2[:, 0] - s_B2[:, 1] - sums.positive, LOG_ZERO)
            for s_B2 in (sums.rows, sums.columns)
        ]
        return torch.stack(logs, dim=1)


def log_ema(average: Tensor, new: Tensor, weight: Tensor | float) -> Tensor:
    """Return log((1 - weight) exp(average) + weight exp(new)); where one of them is `LOG_ZERO`, the other.

    Args:
        average: float, any shape: the log of the moving average so far.
        new: of the same shape: the log of this step's value.
        weight: of this step's value, in (0, 1].
    """
    weight = torch.as_tensor(weight, dtype=new.dtype, device=new.device)
    updated = torch.logaddexp(torch.log1p(-weight) + average, weight.log() + new)
    updated = torch.where(average > LOG_ZERO / 2, updated, new)
    return torch.where(new > LOG_ZERO / 2, updated, average)


def global_contrastive(logs_B2: Tensor, averages_B2: Tensor, temperature: Tensor, rho: float) -> Tensor:
    """RGCL-g: robust global contrastive loss with one learned temperature (FastCLIP, Wei et al. 2024).

    The value is temperature * (mean of the averages, both sides, + 2 rho); its gradient is that of the batch's
    normalizer over the averaged one.

    Args:
        logs_B2: the batch's log-normalizers (`log_normalizers`).
        averages_B2: their moving averages after this step's update (`log_ema`); they carry no gradient.
        temperature: scalar, learned, > 0; one over the scale of the logits.
        rho: KL radius, >= 0, which bounds the temperature from below.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch. The loss of a row without a negative
        is zero.
    """
    finite_B2 = logs_B2 > LOG_ZERO / 2
    ratio_B2 = torch.where(finite_B2, logs_B2 - averages_B2.detach(), 0.0).exp()
    value_B2 = torch.where(finite_B2, averages_B2.detach() + ratio_B2 - ratio_B2.detach(), 0.0)
    return collectives.share((temperature * (value_B2 + rho)).sum(), collectives.count_rows(logs_B2))
