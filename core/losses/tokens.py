"""Losses of tokens: classes of the tokens of a batch, those of every rank counted alike.

Letters: B rows, T tokens, V classes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sensorium import collectives


def token_cross_entropy(logits_BTV: Tensor, targets_BT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over tokens, in nats, each token of the joined batch with the same weight.

    Args:
        logits_BTV: float, computed with in fp32 (fp64 stays).
        targets_BT: int64 class ids.
        mask_BT: bool, which tokens count; None counts all.

    Returns:
        This rank's share: its sum times world over the tokens of all ranks, so that the mean over ranks is the loss of
        the joined batch however its tokens are spread. Zero, with zero gradient, when no token counts.
    """
    nats_BT = token_nats(logits_BTV, targets_BT, mask_BT)
    count = nats_BT.numel() if mask_BT is None else mask_BT.sum()
    count = collectives.total(torch.as_tensor(count, device=nats_BT.device))
    return nats_BT.sum() * collectives.world() / count.clamp(min=1)


def token_nats(logits_BTV: Tensor, targets_BT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """Return the negative log-likelihood (B, T) of each token, in nats, 0 where it does not count.

    Args: as `token_cross_entropy`.
    """
    with torch.autocast(logits_BTV.device.type, enabled=False):
        logits_NV = logits_BTV.flatten(0, -2)
        logits_NV = logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float()
        targets_BT = targets_BT if mask_BT is None else targets_BT.masked_fill(~mask_BT, -100)
        nats_N = F.cross_entropy(logits_NV, targets_BT.flatten(), ignore_index=-100, reduction="none")
        return nats_N.view(targets_BT.shape)


def perplexity(loss: Tensor) -> Tensor:
    """Return exp of a mean cross-entropy in nats, the same on every rank, from this rank's share of it; no gradient."""
    return collectives.mean(loss.detach()).exp()
