"""Embeddings of node and edge features."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureEmbedding(nn.Module):
    """The sum of an embedding of each categorical feature and a linear map of the numeric features.

    Args:
        categories: number of categories of each categorical feature; one more row of each embedding is the mask.
        values: number of numeric features.
        width: of the embedding.
    """

    def __init__(self, categories: tuple[int, ...], values: int, width: int) -> None:
        super().__init__()
        self.categories = nn.ModuleList(nn.Embedding(size + 1, width) for size in categories)
        self.values = nn.Linear(values, width, bias=False) if values else None
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, categories_NF: Tensor, values_NV: Tensor) -> Tensor:
        """Return (N, width)."""
        x_ND = self.bias.expand(len(categories_NF), -1)
        for embed, column_N in zip(self.categories, categories_NF.T, strict=True):
            x_ND = x_ND + embed(column_N)
        return x_ND if self.values is None else x_ND + self.values(values_NV)
