"""Distractors of wav2vec 2.0: the negatives of a masked token."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_distractors(mask_BM: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw, for each masked token, others of its record, with replacement: indices int64 (B, M, K) among its M.

    Draws from torch's global generator.

    Args:
        mask_BM: bool, which of the M are masked tokens, not filling.
        count: K.

    Returns:
        The indices, and which tokens have distractors, bool (B, M): masked ones that are not the only one of their
        record. Indices of the others mean nothing.
    """
    masked_B1 = mask_BM.sum(1, keepdim=True)
    order_BM = mask_BM.to(torch.int8).argsort(dim=1, descending=True, stable=True)  # masked ones first
    rank_BM = mask_BM.cumsum(1) - 1
    others_B11 = (masked_B1 - 1).clamp(min=1)[..., None]
    noise_BMK = torch.rand(*mask_BM.shape, count, device=mask_BM.device)
    pick_BMK = (noise_BMK * others_B11).long().minimum(others_B11 - 1)
    pick_BMK = pick_BMK + (pick_BMK >= rank_BM[..., None])  # skip the token itself
    pick_BMK = pick_BMK.clamp(0, mask_BM.shape[1] - 1)
    index_BMK = order_BM[:, None].expand(-1, mask_BM.shape[1], -1).gather(2, pick_BMK)
    return index_BMK, mask_BM & (masked_B1 > 1)
