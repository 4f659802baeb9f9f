"""Mutual information estimators: a discriminator of positive and negative pairs (DGI, InfoGraph).

Letters: B this rank's records, M joined records of all ranks, T tokens, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sensorium.losses.engine import softplus
from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.parallel import collectives
from sensorium.types import valid_tokens


def binary_discrimination(positive: Tensor, negative: Tensor) -> Tensor:
    """DGI's loss: binary cross-entropy of a discriminator's logits (Velickovic et al. 2019, eq. 1, negated).

    The means over positives and over negatives have equal weight.

    Args:
        positive: this rank's logits of positive pairs, any shape, in fp32 or more.
        negative: this rank's logits of negative pairs, any shape.

    Returns:
        This rank's share; the mean over ranks is the loss of the joined batch.
    """
    with outside_autocast(positive):
        return _mean(softplus(-at_least_fp32(positive))) + _mean(softplus(at_least_fp32(negative)))


def jensen_shannon(tokens_BTD: Tensor, pooled_BD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """InfoGraph: negated Jensen-Shannon estimator of local-global mutual information (Sun et al. 2020, eq. 4).

    With logits s = <token, record> it is the mean of softplus(s) - log 2 over tokens and other records, minus the mean
    of log 2 - softplus(-s) over tokens and their records. Records of all ranks are joined.

    Args:
        tokens_BTD: this rank's tokens (local features).
        pooled_BD: this rank's records (global features).
        mask_BT: bool, which tokens are valid; None when all are.

    Returns:
        This rank's share. A single record has no negatives: its loss is that of its positives.
    """
    with outside_autocast(tokens_BTD):
        pooled_MD, first = collectives.all_gather(at_least_fp32(pooled_BD))
        logits_BTM = at_least_fp32(tokens_BTD) @ pooled_MD.T
        valid_BT1 = valid_tokens(tokens_BTD, mask_BT)[..., None]
        ids_B = torch.arange(len(logits_BTM), device=logits_BTM.device)
        same_BTM = torch.zeros_like(logits_BTM, dtype=torch.bool)
        same_BTM[ids_B, :, first + ids_B] = True
        positive = _masked_mean(softplus(-logits_BTM), same_BTM & valid_BT1)
        negative = _masked_mean(softplus(logits_BTM), ~same_BTM & valid_BT1)
        return positive + negative - 2 * math.log(2)


def dgi_summary(x_BD: Tensor) -> Tensor:
    """Return DGI's graph summary (D,): sigmoid of the mean over the rows of all ranks (eq. 3), with its gradient.

    Args:
        x_BD: float, rows of any kind.
    """
    with outside_autocast(x_BD):
        sums_WD, _ = collectives.all_gather(at_least_fp32(x_BD).sum(0, keepdim=True))
        return (sums_WD.sum(0) / max(collectives.count_rows(x_BD), 1)).sigmoid()


def _mean(x: Tensor) -> Tensor:
    """Return this rank's share of the mean over the entries of all ranks; of none, zero."""
    return collectives.share(x.sum(), collectives.count_rows(x.flatten()))


def _masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return this rank's share of the mean over the entries of all ranks where the mask is True; of none, zero."""
    return collectives.share(x.masked_fill(~mask, 0.0).sum(), collectives.all_reduce_sum(mask.sum()))
