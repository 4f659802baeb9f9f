"""Separable resampling: rows and columns of an image as weighted sums of its rows and columns.

Cropping, scaling, flipping and blurring are all of this kind.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class RowFilter(NamedTuple):
    """Makes each row of an image out of some rows of it, with its own weights for each image of a batch.

    Rows are contiguous, columns are not: a filter of columns is one of the rows of the transposed image.

    Args:
        taps: int64 (B, h, K), the K input rows of each of h output rows.
        weights: float (B, h, K), their weights.
    """

    taps: Tensor
    weights: Tensor

    def select(self, images: slice | Tensor) -> RowFilter:
        """Return the filters of some images."""
        return RowFilter(self.taps[images], self.weights[images])

    def __call__(self, x_BCHW: Tensor, first: int = 0) -> Tensor:
        """Return the filtered images, float (B, C, h, W), of float pixels.

        Computed as an embedding bag: one pass over the pixels, with contiguous rows.

        Args:
            x_BCHW: the images, or a window of them that has all rows that are needed.
            first: the window's first row.
        """
        b, c, h, w = x_BCHW.shape
        corners_BC11 = torch.arange(-first, b * c * h - first, h, device=x_BCHW.device).view(b, c, 1, 1)
        bags_BChK = self.taps[:, None] + corners_BC11
        weights_BChK = self.weights[:, None].expand(bags_BChK.shape)
        bags, weights = bags_BChK.flatten(0, 2), weights_BChK.flatten(0, 2).to(x_BCHW.dtype)
        sums = F.embedding_bag(bags, x_BCHW.reshape(-1, w), per_sample_weights=weights, mode="sum")
        return sums.view(b, c, -1, w)


class Resampling(NamedTuple):
    """A separable filter: of rows, and of columns as rows of the transposed image."""

    rows: RowFilter
    columns: RowFilter
