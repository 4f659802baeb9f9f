"""Pooling of tokens along the time axis.

Letters: B signals, T time steps, D width, P parts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.losses.precision import at_least_fp32, outside_autocast


def pool_tokens(tokens_BTD: Tensor, valid_BT: Tensor, how: str) -> Tensor:
    """Return one vector (B, D) of each row's valid tokens, at least fp32: their "mean", their "max", or the "last"."""
    if how == "last":
        last_B = (valid_BT.sum(1) - 1).clamp(min=0)
        return at_least_fp32(tokens_BTD[torch.arange(len(last_B), device=last_B.device), last_B])
    padding_BT1 = ~valid_BT[..., None]
    if how == "max":
        return at_least_fp32(tokens_BTD.masked_fill(padding_BT1, float("-inf")).amax(1))
    sum_BD = tokens_BTD.masked_fill(padding_BT1, 0.0).sum(1, dtype=torch.promote_types(tokens_BTD.dtype, torch.float32))
    return sum_BD / valid_BT.sum(1, keepdim=True).clamp(min=1)


def pool_parts(tokens_BTD: Tensor, valid_BT: Tensor, parts: int) -> Tensor:
    """Return the weighted means of P overlapping parts of each row's valid tokens, concatenated: (B, P * D).

    They are at least fp32. A row without valid tokens gives zeros.
    """
    with outside_autocast(tokens_BTD):
        wide_BTD = at_least_fp32(tokens_BTD).masked_fill(~valid_BT[..., None], 0.0)
        return (_triangular_weights(valid_BT, parts).to(wide_BTD.dtype) @ wide_BTD).flatten(1)


def _triangular_weights(valid_BT: Tensor, parts: int) -> Tensor:
    """Return the weights (B, P, T) of each token in each part of its row; those of a part sum to one.

    A weight falls linearly from the center of a part to zero at the centers of its neighbors.
    """
    time_BT = (valid_BT.cumsum(1) - 0.5) / valid_BT.sum(1, keepdim=True).clamp(min=1)
    center_P1 = (torch.arange(parts, device=valid_BT.device)[:, None] + 0.5) / parts
    weights_BPT = (1 - parts * (time_BT[:, None] - center_P1).abs()).clamp(min=0) + 1e-6
    weights_BPT = weights_BPT * valid_BT[:, None]
    return weights_BPT / weights_BPT.sum(2, keepdim=True).clamp(min=1e-6)
