"""Encoders of rows: a perceptron, and a transformer over columns.

Letters: B rows, N numeric columns, M categorical ones, T of both, K kept columns, C classes of cells, D width, H heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Encoder, Features, SensoriumError, TokenEncoder, Tokens
from sensorium_tabular.columns import HIDDEN, MISSING, PRESENT
from sensorium_tabular.modality import Rows, Tabular, cell_classes


class MLP(Encoder):
    """Residual perceptron on numbers, embedded categories and which cells are missing (Gorishniy et al. 2021, ResNet).

    Args:
        dim: width of the features.
        depth: number of residual blocks.
        dropout: dropout probability in the blocks.
    """

    def __init__(self, modality: Tabular, dim: int = 128, depth: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        columns = modality.columns
        self.dim = dim
        self.embed = nn.ModuleList(nn.Embedding(column.size, dim) for column in columns.categorical)
        self.first = nn.Linear(len(columns.numeric) + len(columns.names), dim)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim)
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, batch: Rows) -> Features:
        """Encode rows to features (B, dim)."""
        present_BT = batch.state == PRESENT
        x_BD = self.first(torch.cat([batch.numbers, present_BT.to(batch.numbers.dtype)], dim=1))
        for column, embed in enumerate(self.embed):
            present_B1 = present_BT[:, batch.numbers.shape[1] + column, None]
            x_BD = x_BD + embed(batch.categories[:, column]) * present_B1
        for block in self.blocks:
            x_BD = x_BD + block(x_BD)
        return Features(self.norm(x_BD).float())


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.qkv, self.out = nn.LayerNorm(dim), nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x_BTD: Tensor, allowed_B1TT: Tensor) -> Tensor:
        """Return the tokens after attention to the allowed ones."""
        q, k, v = self.qkv(self.norm(x_BTD)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed_BHTd = F.scaled_dot_product_attention(q, k, v, allowed_B1TT)
        x_BTD = x_BTD + self.out(mixed_BHTd.transpose(1, 2).flatten(2))
        return x_BTD + self.mlp(x_BTD)


class ColumnTransformer(TokenEncoder):
    """FT-Transformer: one token for each column (Gorishniy et al. 2021), the mean of them as pooled features.

    A number scales a vector of its column, a category is embedded; missing cells are padding. The target of a token is
    the class of its cell: a category, or the quantile bin of a number.

    Args:
        dim: width of the tokens.
        depth: number of blocks.
        heads: attention heads; they divide `dim`.
        causal: whether a column attends to itself and those before it only, for the objective next-token.
    """

    def __init__(self, modality: Tabular, dim: int = 64, depth: int = 2, heads: int = 4, causal: bool = False) -> None:
        super().__init__()
        if dim % heads:
            raise SensoriumError(f"The encoder 'columns' has a width of {dim}, which {heads} heads do not divide.")
        columns = modality.columns
        self.dim, self.target_dim, self.is_causal = dim, columns.classes, causal
        self.scale = nn.Parameter(torch.randn(len(columns.numeric), dim) * dim**-0.5)
        self.embed = nn.Embedding(sum(column.size for column in columns.categorical), dim)
        self.hidden = nn.Parameter(torch.randn(dim) * dim**-0.5)
        self.positions = nn.Parameter(torch.randn(len(columns.names), dim) * dim**-0.5)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.register_buffer("edges", columns.edges, persistent=False)
        self.register_buffer("offsets", columns.offsets, persistent=False)

    def tokenize(self, batch: Rows) -> Tokens:
        """Return a token (B, T, D) for each column; those of missing cells are masked."""
        numbers_BND = batch.numbers[..., None] * self.scale
        first_M = self.offsets[self.scale.shape[0] :] - self.offsets[self.scale.shape[0] :][:1]
        categories_BMD = self.embed(batch.categories + first_M)
        x_BTD = torch.cat([numbers_BND, categories_BMD.to(numbers_BND.dtype)], dim=1)
        x_BTD = torch.where((batch.state == HIDDEN)[..., None], self.hidden.to(x_BTD.dtype), x_BTD)
        return Tokens(x_BTD, self.positions[None], batch.state != MISSING)

    def encode_tokens(self, tokens: Tokens, keep: Tensor | None = None) -> Features:
        """Encode the tokens of all columns, or of those at `keep` (B, K)."""
        tokens = tokens if keep is None else tokens.take(keep)
        x_BTD, valid_BT = tokens.x + tokens.positions, tokens.valid()
        count = x_BTD.shape[1]
        allowed_BTT = valid_BT[:, None] | torch.eye(count, dtype=torch.bool, device=x_BTD.device)
        if self.is_causal:
            order_BT = torch.arange(count, device=x_BTD.device)[None] if keep is None else keep
            allowed_BTT = allowed_BTT & (order_BT[:, :, None] >= order_BT[:, None])
        for block in self.blocks:
            x_BTD = block(x_BTD, allowed_BTT[:, None])
        x_BTD = self.norm(x_BTD) * valid_BT[..., None]
        pooled_BD = x_BTD.float().sum(1) / valid_BT.sum(1, keepdim=True).clamp(min=1)
        return Features(pooled_BD, x_BTD, valid_BT)

    def token_targets(self, batch: Rows) -> Tensor:
        """Return the class of every cell: int64 (B, T)."""
        return cell_classes(batch, self.edges, self.offsets)
