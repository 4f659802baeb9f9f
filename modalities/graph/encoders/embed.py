"""What nodes and edges carry, as vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Embed(nn.Module):
    """One vector for each row of classes and numbers: the sum of an embedding of each column and a linear map.

    Args:
        sizes: how many classes each column has; one more row of each embedding stands for a hidden class.
        values: how many columns of numbers there are.
        width: of the vectors.
    """

    def __init__(self, sizes: tuple[int, ...], values: int, width: int) -> None:
        super().__init__()
        self.classes = nn.ModuleList(nn.Embedding(size + 1, width) for size in sizes)
        self.values = nn.Linear(values, width, bias=False) if values else None
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, classes_NF: Tensor, values_NV: Tensor) -> Tensor:
        """Return (N, width)."""
        x_ND = self.bias.expand(len(classes_NF), -1)
        for embed, column_N in zip(self.classes, classes_NF.T, strict=True):
            x_ND = x_ND + embed(column_N)
        return x_ND if self.values is None else x_ND + self.values(values_NV)
