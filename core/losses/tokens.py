"""Cross-entropy of tokens; every token of all ranks has the same weight.

Letters: B rows, T tokens, V classes, K prototypes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium.losses.arguments import check_positive
from sensorium.losses.precision import at_least_fp32, outside_autocast
from sensorium.parallel import collectives


def token_cross_entropy(
    logits_BTV: Tensor, targets_BT: Tensor, mask_BT: Tensor | None = None, weight_V: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy over tokens, in nats, each token of the joined batch with the same weight.

    Args:
        logits_BTV: float; computed in fp32 (fp64 stays).
        targets_BT: int64 class ids.
        mask_BT: bool, the tokens that are averaged; None is all.
        weight_V: class weights, >= 0; None is 1. See `class_weights`.

    Returns:
        This rank's share of the mean over the tokens of all ranks; the mean over ranks is the loss of the joined batch.
        Zero, with zero gradient, without a token.
    """
    nats_BT = token_nats(logits_BTV, targets_BT, mask_BT)
    if weight_V is not None:
        nats_BT = nats_BT * weight_V[targets_BT.clamp(min=0)]
    if mask_BT is None:
        return collectives.share(nats_BT.sum(), collectives.count_rows(nats_BT.flatten()))
    return collectives.share(nats_BT.sum(), collectives.all_reduce_sum(mask_BT.sum()))


def soft_token_cross_entropy(
    scores_BTK: Tensor, targets_BTK: Tensor, mask_BT: Tensor, temperature: Tensor | float
) -> Tensor:
    """Mean cross-entropy of tokens whose targets are distributions, each token of the joined batch with one weight.

    Args:
        scores_BTK: float; computed in fp32 (fp64 stays).
        targets_BTK: distributions over K prototypes; stop-gradient.
        mask_BT: bool, the tokens that are averaged.
        temperature: softmax temperature, > 0, which divides scores.

    Returns:
        This rank's share of the mean over the tokens of all ranks; the mean over ranks is the loss of the joined batch.
        Zero, with zero gradient, without a token.
    """
    check_positive("temperature", temperature)
    with outside_autocast(scores_BTK):
        log_BTK = (at_least_fp32(scores_BTK) / temperature).log_softmax(-1)
        nats_BT = -(targets_BTK.detach().to(log_BTK.dtype) * log_BTK).sum(-1)
        return collectives.share(nats_BT.masked_fill(~mask_BT, 0.0).sum(), collectives.all_reduce_sum(mask_BT.sum()))


def token_nats(logits_BTV: Tensor, targets_BT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """Return the negative log-likelihood (B, T) of each token, in nats, 0 where it is masked out.

    Args:
        logits_BTV: float; computed in fp32 (fp64 stays).
        targets_BT: int64 class ids.
        mask_BT: bool, the tokens that are counted; None is all.
    """
    with outside_autocast(logits_BTV):
        logits_NV = logits_BTV.flatten(0, -2)
        logits_NV = at_least_fp32(logits_NV)
        targets_BT = targets_BT if mask_BT is None else targets_BT.masked_fill(~mask_BT, -100)
        nats_N = F.cross_entropy(logits_NV, targets_BT.flatten(), ignore_index=-100, reduction="none")
        return nats_N.view(targets_BT.shape)


def class_weights(targets_BT: Tensor, classes: int, balance: float) -> Tensor:
    """Return class-rebalancing weights float32 (V,), of mean 1 over tokens (Zhang et al. 2016, eq. 4).

    Proportional to 1 / (balance x frequency + (1 - balance) / V), with class frequencies of the joined batch.

    Args:
        targets_BT: int64 class ids; those below 0 are ignored.
        classes: V.
        balance: in [0, 1]; 0 weights all classes equally, 1 by their inverse frequency; the paper's is 1/2.
    """
    flat_N = targets_BT.flatten()
    counts_V = torch.zeros(classes, dtype=torch.int64, device=flat_N.device)
    counts_V = collectives.all_reduce_sum(counts_V.index_add(0, flat_N.clamp(min=0), (flat_N >= 0).long())).float()
    frequency_V = counts_V / counts_V.sum().clamp(min=1)
    # An absent class has no token, so that any finite weight will do.
    weight_V = 1 / (balance * frequency_V + (1 - balance) / classes).clamp(min=1e-12)
    return weight_V / (frequency_V * weight_V).sum().clamp(min=1e-12)


def perplexity(loss: Tensor) -> Tensor:
    """Return exp of a mean cross-entropy in nats, the same on every rank, from this rank's share of it; no gradient.

    Args:
        loss: scalar: this rank's share of a mean cross-entropy in nats.
    """
    return collectives.all_reduce_mean(loss.detach()).exp()
