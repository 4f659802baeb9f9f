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
    if mask_BT is None:
        mask_BT = torch.ones_like(targets_BT, dtype=torch.bool)
    with torch.autocast(logits_BTV.device.type, enabled=False):
        logits_NV = logits_BTV.flatten(0, -2)
        logits_NV = logits_NV if logits_NV.dtype == torch.float64 else logits_NV.float()
        targets_N = targets_BT.masked_fill(~mask_BT, -100).flatten()
        summed = F.cross_entropy(logits_NV, targets_N, ignore_index=-100, reduction="sum")
        count = collectives.total(mask_BT.sum())
        return summed * collectives.world() / count.clamp(min=1)


def perplexity(loss: Tensor) -> Tensor:
    """Return exp of a mean cross-entropy in nats, the same on every rank, from this rank's share of it; no gradient."""
    return collectives.mean(loss.detach()).exp()
