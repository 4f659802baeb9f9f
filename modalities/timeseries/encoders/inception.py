"""InceptionTime: parallel convolutions of several kernel sizes.

Letters: B series, C channels, T time steps, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Encoder, Features
from sensorium.batch_norm import MaskedBatchNorm
from sensorium.errors import RecipeError
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.pooling import pool_tokens
from sensorium.modalities.timeseries.modality import TimeSeriesModality

SPAN = 3
"""Modules that a residual connection spans."""


class Block(nn.Module):
    """Inception module: a bottleneck, parallel convolutions beside a max-pooling branch, and batch norm."""

    def __init__(self, width: int, filters: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(width, filters, 1, bias=False) if width > 1 else nn.Identity()
        inner = filters if width > 1 else 1
        self.branches = nn.ModuleList(nn.Conv1d(inner, filters, k, padding=k // 2, bias=False) for k in kernels)
        self.pooled = nn.Conv1d(width, filters, 1, bias=False)
        self.norm = MaskedBatchNorm(filters * (len(kernels) + 1))

    def forward(self, x_BDT: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the normalized steps, before the activation."""
        bottleneck_BDT = self.bottleneck(x_BDT)
        padded_BDT = x_BDT.masked_fill(~valid_BT[:, None], float("-inf"))
        # Over one row of two axes: torch traces that for any number of steps.
        peaks_BDT = F.max_pool2d(padded_BDT[:, :, None], (1, 3), 1, (0, 1))[:, :, 0].masked_fill(
            ~valid_BT[:, None], 0.0
        )
        branches = [*(branch(bottleneck_BDT) for branch in self.branches), self.pooled(peaks_BDT)]
        return self.norm(torch.cat(branches, dim=1), valid_BT)


class Inception(Encoder):
    """InceptionTime network without its classifier (Ismail Fawaz et al. 2020).

    A missing value counts as zero, the channel's center. Padding changes no feature.

    Args:
        modality: the time series modality, fitted.
        filters: filters of each branch; the width of the features is `filters` x (number of kernels + 1).
        depth: number of inception modules; a residual connection spans every three.
        kernels: kernel sizes of the parallel convolutions in steps, odd.
    """

    def __init__(
        self,
        modality: TimeSeriesModality,
        filters: int = 32,
        depth: int = 6,
        kernels: tuple[int, ...] = (39, 19, 9),
    ) -> None:
        super().__init__()
        if not kernels or any(kernel % 2 == 0 for kernel in kernels):
            raise RecipeError(f"The kernel sizes of the encoder 'inception' are odd not {list(kernels)}.")
        self.dim = filters * (len(kernels) + 1)
        widths = [modality.fixed_channels("inception"), *[self.dim] * (depth - 1)]
        self.blocks = nn.ModuleList(Block(width, filters, tuple(kernels)) for width in widths)
        starts = widths[: depth // SPAN * SPAN : SPAN]
        self.skips = nn.ModuleList(nn.Conv1d(width, self.dim, 1, bias=False) for width in starts)
        self.norms = nn.ModuleList(MaskedBatchNorm(self.dim) for _ in starts)

    def forward(self, batch: SignalBatch) -> Features:
        """Encode series to features with one token for each step."""
        valid_BT = batch.valid
        x_BDT = residual_BDT = batch.values
        for i, block in enumerate(self.blocks):
            x_BDT = block(x_BDT, valid_BT)
            if i % SPAN == SPAN - 1:
                skip, norm = self.skips[i // SPAN], self.norms[i // SPAN]
                x_BDT = residual_BDT = F.relu(F.relu(x_BDT) + norm(skip(residual_BDT), valid_BT))
            else:
                x_BDT = F.relu(x_BDT)
        tokens_BTD = x_BDT.transpose(1, 2)
        return Features(pool_tokens(tokens_BTD, valid_BT, "mean"), tokens_BTD, valid_BT)
