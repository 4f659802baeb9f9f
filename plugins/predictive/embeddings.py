"""Token embeddings of next-embedding prediction: their projections, and those that the collapse alarm watches.

Letters: B records, T tokens, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium import batch_norm


class EmbeddingProjector(nn.Module):
    """MLP from embeddings to projections that ends in batch norm over valid tokens, without scale and shift.

    Predictions are then compared in units of the projections' own variance, which cannot shrink.

    Args:
        dim: width of the embeddings, any norm.
        width: hidden width.
        out: width of the projections.
    """

    def __init__(self, dim: int, width: int, out: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, width), nn.GELU(), nn.Linear(width, out))
        self.norm = batch_norm.MaskedBatchNorm(out, affine=False)

    def forward(self, x_BTD: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the projections, zero at padding."""
        return self.norm(self.mlp(x_BTD).transpose(1, 2), valid_BT).transpose(1, 2)


def one_token_of_each(x_BTD: Tensor, valid_BT: Tensor) -> Tensor:
    """Return one valid token of each record, detached (B, D): of record i token i modulo its number of tokens.

    So the records of a batch show tokens at all positions, and no shape depends on padding.
    """
    counts_B1 = valid_BT.sum(1, keepdim=True).clamp(min=1)
    number_B1 = torch.arange(len(x_BTD), device=x_BTD.device)[:, None] % counts_B1
    index_B = (valid_BT & (valid_BT.cumsum(1) == number_B1 + 1)).int().argmax(1)
    return x_BTD.detach()[torch.arange(len(x_BTD), device=x_BTD.device), index_B]
