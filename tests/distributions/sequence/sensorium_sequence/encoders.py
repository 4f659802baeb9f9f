"""Encoders of sequences: a transformer, bidirectional or causal, and dilated convolutions.

Letters: B sequences, T tokens, K kept tokens, D width, H heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Encoder, Features, SensoriumError, TokenEncoder, Tokens
from sensorium_sequence.modality import SequenceModality, Sequences


def mean_of_valid(x_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Return the mean of the valid tokens, float32 (B, D); others are zero already."""
    return x_BTD.float().sum(1) / mask_BT.sum(1, keepdim=True).clamp(min=1)


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.qkv, self.out = nn.LayerNorm(dim), nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x_BTD: Tensor, allowed_B1TT: Tensor) -> Tensor:
        """Return the tokens after attention to the allowed ones."""
        q, k, v = self.qkv(self.norm(x_BTD)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed_BHTd = F.scaled_dot_product_attention(q, k, v, allowed_B1TT)
        x_BTD = x_BTD + self.out(mixed_BHTd.transpose(1, 2).flatten(2))
        return x_BTD + self.mlp(x_BTD)


class SequenceTransformer(TokenEncoder):
    """Pre-norm transformer on k-mers with learned positions, the mean of its tokens as pooled features.

    Args:
        dim: width of the tokens.
        depth: number of blocks.
        heads: attention heads; they divide `dim`.
        causal: whether a token attends to itself and those before it only, for the objective next-token.
    """

    def __init__(
        self, modality: SequenceModality, dim: int = 64, depth: int = 2, heads: int = 4, causal: bool = False
    ) -> None:
        super().__init__()
        if dim % heads:
            raise SensoriumError(f"The encoder 'transformer' has a width of {dim}, which {heads} heads do not divide.")
        self.dim, self.target_dim, self.is_causal = dim, modality.alphabet.size, causal
        self.embed = nn.Embedding(self.target_dim, dim)
        self.positions = nn.Parameter(torch.randn(modality.length, dim) * 0.1)
        nn.init.normal_(self.embed.weight, std=0.1)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def tokenize(self, batch: Sequences) -> Tokens:
        """Return the embedded tokens (B, T, D)."""
        return Tokens(self.embed(batch.ids), self.positions[None, : batch.ids.shape[1]], batch.mask)

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode all tokens, or those at `keep` (B, K)."""
        tokens = tokens if keep is None else tokens.take(keep)
        x_BTD, mask_BT = tokens.x + tokens.positions, tokens.valid()
        count = x_BTD.shape[1]
        allowed_BTT = mask_BT[:, None] | torch.eye(count, dtype=torch.bool, device=x_BTD.device)
        if self.is_causal:
            order_BT = torch.arange(count, device=x_BTD.device)[None] if keep is None else keep
            allowed_BTT = allowed_BTT & (order_BT[:, :, None] >= order_BT[:, None])
        for block in self.blocks:
            x_BTD = block(x_BTD, allowed_BTT[:, None])
        x_BTD = self.norm(x_BTD) * mask_BT[..., None]
        return Features(mean_of_valid(x_BTD, mask_BT), x_BTD, mask_BT)

    def token_targets(self, batch: Sequences) -> Tensor:
        """Return the ids themselves: int64 (B, T)."""
        return batch.ids


class DilatedConvolutions(Encoder):
    """Residual dilated convolutions, the mean and the maximum over tokens, mixed, as pooled features.

    Every token has features of its neighborhood, so objectives of tokens can use it.

    Args:
        dim: width of the features.
        depth: number of convolutions; the dilation doubles from one to the next.
        kernel: tokens that a convolution sees, odd.
    """

    def __init__(self, modality: SequenceModality, dim: int = 64, depth: int = 4, kernel: int = 5) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise SensoriumError(f"The encoder 'conv' has a kernel of {kernel} tokens: choose an odd number.")
        self.dim = dim
        self.embed = nn.Embedding(modality.alphabet.size, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(dim, dim, kernel, padding=2**i * (kernel // 2), dilation=2**i) for i in range(depth)
        )
        self.pool = nn.Linear(2 * dim, dim)

    def forward(self, batch: Sequences) -> Features:
        """Encode sequences to features (B, dim)."""
        valid_BT1 = batch.mask[..., None]
        x_BTD = self.embed(batch.ids) * valid_BT1
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            inner_BTD = F.gelu(norm(x_BTD)) * valid_BT1
            x_BTD = x_BTD + convolution(inner_BTD.transpose(1, 2)).transpose(1, 2) * valid_BT1
        tallest_BD = x_BTD.masked_fill(~valid_BT1, float("-inf")).amax(1).float()
        pooled_BD = self.pool(torch.cat([mean_of_valid(x_BTD, batch.mask), tallest_BD], dim=1))
        return Features(pooled_BD.float(), x_BTD, batch.mask)
