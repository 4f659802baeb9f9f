"""Predictor of masked tokens by cross-attention: they see the visible ones, not one another.

Letters: B rows, T tokens, K visible tokens, M masked tokens, D width of the encoder's tokens, W width of the predictor.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium.blocks.token_decoder import check_heads
from sensorium.types import Features, take_tokens


class TokenPredictor(nn.Module):
    """CAPI's predictor (Darcet et al. 2025): mask tokens at the masked positions cross-attend to the visible tokens.

    Masked tokens do not attend to one another, so that a prediction does not depend on which others are asked for.
    Position embeddings are the encoder's, through a linear map. See `TokenDecoder` for one with full attention.

    Args:
        dim: D, width of the encoder's tokens.
        width: W, width of its own tokens, and of predictions.
        depth: number of blocks, >= 1.
        heads: attention heads; they divide `width`.
    """

    def __init__(self, dim: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        check_heads("predictor", width, heads)
        self.embed_tokens, self.embed_positions = nn.Linear(dim, width), nn.Linear(dim, width, bias=False)
        self.mask_token = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(CrossAttentionBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, visible: Features, positions: Tensor, visible_BK: Tensor, masked_BM: Tensor) -> Tensor:
        """Predict the masked tokens.

        Args:
            visible: the encoded tokens (B, K, D), with their padding mask if they have one.
            positions: float (B, T, D) or (1, T, D), the encoder's position embeddings.
            visible_BK: int64, indices of the visible tokens.
            masked_BM: int64, indices of the masked tokens.

        Returns:
            Predictions (B, M, W).
        """
        positions_BTW = self.embed_positions(positions).expand(len(visible_BK), -1, -1)
        context_BKW = self.embed_tokens(visible.tokens) + take_tokens(positions_BTW, visible_BK)
        x_BMW = self.mask_token + take_tokens(positions_BTW, masked_BM)
        valid_BK = visible.valid()
        for block in self.blocks:
            x_BMW = block(x_BMW, context_BKW, valid_BK)
        return self.norm(x_BMW)


class CrossAttentionBlock(nn.Module):
    """A pre-norm block of cross-attention and an MLP.

    Args:
        width: of its tokens, and of those that they attend to.
        heads: attention heads; they divide `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.context_norm, self.mlp_norm = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.value, self.out = (nn.Linear(width, width) for _ in range(3))
        self.key = nn.Linear(width, width, bias=False)  # a bias would add the same to all logits of a token
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x_BMW: Tensor, context_BKW: Tensor, valid_BK: Tensor) -> Tensor:
        """Let each of M tokens attend to those of the K tokens of its context that are valid."""
        context_BKW = self.context_norm(context_BKW)
        query, key = self._by_head(self.query(self.norm(x_BMW))), self._by_head(self.key(context_BKW))
        value, visible = self._by_head(self.value(context_BKW)), valid_BK[:, None, None, :]
        attended_BHMd = F.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        x_BMW = x_BMW + self.out(attended_BHMd.transpose(1, 2).flatten(2))
        return x_BMW + self.mlp(self.mlp_norm(x_BMW))

    def _by_head(self, x_BNW: Tensor) -> Tensor:
        return x_BNW.unflatten(2, (self.heads, -1)).transpose(1, 2)
