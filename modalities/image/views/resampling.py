"""Separable resampling: rows and columns of an image as weighted sums of its rows and columns.

Cropping, scaling, flipping and blurring are all of this kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Resampling:
    """A separable linear filter for each image of a batch: weights over its rows, then over its columns.

    Args:
        rows: int64 (B, h, K), the K input rows of each of h output rows.
        row_weights: float (B, h, K), their weights.
        columns: int64 (B, w, L), the L input columns of each of w output columns.
        column_weights: float (B, w, L), their weights.
    """

    rows: Tensor
    row_weights: Tensor
    columns: Tensor
    column_weights: Tensor

    def __getitem__(self, index: slice | Tensor) -> Resampling:
        tensors = (self.rows, self.row_weights, self.columns, self.column_weights)
        return Resampling(*(tensor[index] for tensor in tensors))

    def __call__(self, x_BCHW: Tensor) -> Tensor:
        """Return the resampled images, float (B, C, h, w), of uint8 or float pixels.

        Columns come first: one pass converts bytes to floats and transposes, and the result is contiguous.
        """
        dtype = x_BCHW.dtype if x_BCHW.is_floating_point() else torch.float32
        transposed_BCWH = x_BCHW.mT.to(dtype, memory_format=torch.contiguous_format)
        resampled_BCwH = resample_rows(transposed_BCWH, self.columns, self.column_weights)
        return resample_rows(resampled_BCwH.mT, self.rows, self.row_weights)


def resample_rows(x_BCHW: Tensor, rows_BhK: Tensor, weights_BhK: Tensor) -> Tensor:
    """Return rows (B, C, h, W), each a weighted sum of K rows of the same image.

    Computed as an embedding bag: one pass over the pixels, with contiguous rows.
    """
    b, c, h, w = x_BCHW.shape
    bags = rows_BhK[:, None] + torch.arange(0, b * c * h, h, device=x_BCHW.device).view(b, c, 1, 1)
    weights = weights_BhK[:, None].to(x_BCHW.dtype).expand(bags.shape)
    bags, weights = bags.flatten(0, 2), weights.flatten(0, 2)
    sums = F.embedding_bag(bags, x_BCHW.reshape(-1, w), per_sample_weights=weights, mode="sum")
    return sums.view(b, c, -1, w)
