"""Lines of pictures as weighted sums of lines: what scaling and blurring are, along either side."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Mix:
    """How to make new rows, then new columns, of every picture of a batch out of its own.

    Args:
        rows: int64 (B, h, K), which rows of a picture make each of h new ones.
        row_weights: float (B, h, K), by how much.
        columns: int64 (B, w, L), which columns make each of w new ones.
        column_weights: float (B, w, L), by how much.
    """

    rows: Tensor
    row_weights: Tensor
    columns: Tensor
    column_weights: Tensor

    def __getitem__(self, which: slice | Tensor) -> Mix:
        parts = (self.rows, self.row_weights, self.columns, self.column_weights)
        return Mix(*(part[which] for part in parts))

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """Return the new pictures, float (B, C, h, w), of uint8 or float pixels.

        Columns come first: bytes become floats and change sides in one pass, and the result is in order.
        """
        dtype = x_BCHW.dtype if x_BCHW.is_floating_point() else torch.float32
        turned_BCWH = x_BCHW.mT.to(dtype, memory_format=torch.contiguous_format)
        mixed_BCwH = mix_rows(turned_BCWH, self.columns, self.column_weights)
        return mix_rows(mixed_BCwH.mT, self.rows, self.row_weights)


def mix_rows(x_BCHW: Tensor, rows_BhK: Tensor, weights_BhK: Tensor) -> Tensor:
    """Return rows (B, C, h, W) that are each a weighted sum of K rows of the same picture.

    They are looked up as bags of embeddings are: one pass over the pixels, and rows are contiguous.
    """
    b, c, h, w = x_BCHW.shape
    bags = rows_BhK[:, None] + torch.arange(0, b * c * h, h, device=x_BCHW.device).view(b, c, 1, 1)
    weights = weights_BhK[:, None].to(x_BCHW.dtype).expand(bags.shape)
    bags, weights = bags.flatten(0, 2), weights.flatten(0, 2)
    mixed = F.embedding_bag(bags, x_BCHW.reshape(-1, w), per_sample_weights=weights, mode="sum")
    return mixed.view(b, c, -1, w)
