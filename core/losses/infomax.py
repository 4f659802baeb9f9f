"""Mutual information by telling pairs that belong together from pairs that do not.

Letters: B this rank's records, M joined records of all ranks, T tokens, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sensorium.losses.engine import softplus
from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.parallel import collectives


def binary_discrimination(true: Tensor, false: Tensor) -> Tensor:
    """Binary cross-entropy of scores: those of true pairs are to be large, those of false ones small.

    DGI's objective (Velickovic et al. 2019, eq. 1, with the sign that makes it a loss). Both kinds weigh the same,
    however many scores there are of each.

    Args:
        true: this rank's scores of true pairs, any shape, computed with in fp32 (fp64 stays).
        false: this rank's scores of false pairs, any shape.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    with outside_autocast(true):
        return _mean(softplus(-at_least_fp32(true))) + _mean(softplus(at_least_fp32(false)))


def jensen_shannon(tokens_BTD: Tensor, pooled_BD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """Lower bound of the mutual information of tokens and their records, times -1 (InfoGraph, Sun et al. 2020, eq. 4).

    With scores s = <token, record> it is the mean of softplus(s) - log 2 over tokens and records that they are not of,
    less the mean of log 2 - softplus(-s) over tokens and their own records. Records of all ranks are joined.

    Args:
        tokens_BTD: this rank's tokens.
        pooled_BD: this rank's records.
        mask_BT: bool, which tokens are real; None when all are.

    Returns:
        This rank's share. A single record has no other: its tokens are then scored with their own alone.
    """
    with outside_autocast(tokens_BTD):
        pooled_MD, first = collectives.all_gather(at_least_fp32(pooled_BD))
        scores_BTM = at_least_fp32(tokens_BTD) @ pooled_MD.T
        real_BT = torch.ones_like(scores_BTM[..., 0], dtype=torch.bool) if mask_BT is None else mask_BT
        ids_B = torch.arange(len(scores_BTM), device=scores_BTM.device)
        own_BTM = torch.zeros_like(scores_BTM, dtype=torch.bool)
        own_BTM[ids_B, :, first + ids_B] = True
        own_BTM, other_BTM = own_BTM & real_BT[..., None], ~own_BTM & real_BT[..., None]
        return binary_discrimination(scores_BTM[own_BTM], scores_BTM[other_BTM]) - 2 * math.log(2)


def dgi_summary(x_BD: Tensor) -> Tensor:
    """Return the sigmoid of the mean of the rows of all ranks, (D,): DGI's summary (eq. 3), with its gradient."""
    with outside_autocast(x_BD):
        sums_WD, _ = collectives.all_gather(at_least_fp32(x_BD).sum(0, keepdim=True))
        count = collectives.all_reduce_sum(torch.tensor(len(x_BD), device=x_BD.device))
        return (sums_WD.sum(0) / count.clamp(min=1)).sigmoid()


def _mean(x: Tensor) -> Tensor:
    """Return this rank's share of the mean over the entries of all ranks; of none, zero."""
    count = collectives.all_reduce_sum(torch.tensor(x.numel(), device=x.device))
    return collectives.share(x.sum(), count)
