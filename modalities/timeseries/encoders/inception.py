"""Convolutions of several lengths side by side.

Letters: B series, C channels, T steps, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Encoder, Features
from sensorium.errors import RecipeError
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.masked_batch_norm import MaskedBatchNorm
from sensorium.modalities.signal.pooling import pool_tokens
from sensorium.modalities.timeseries.modality import TimeSeriesModality

EVERY = 3
"""Blocks between two shortcuts."""


class Block(nn.Module):
    """A bottleneck, convolutions of several lengths beside a pooled path, and batch norm."""

    def __init__(self, width: int, filters: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(width, filters, 1, bias=False) if width > 1 else nn.Identity()
        narrow = filters if width > 1 else 1
        self.paths = nn.ModuleList(nn.Conv1d(narrow, filters, k, padding=k // 2, bias=False) for k in kernels)
        self.pooled = nn.Conv1d(width, filters, 1, bias=False)
        self.norm = MaskedBatchNorm(filters * (len(kernels) + 1))

    def forward(self, x_BDT: Tensor, steps_BT: Tensor) -> Tensor:
        """Return the normalized steps, before the activation."""
        narrow_BDT = self.bottleneck(x_BDT)
        beyond_BDT = x_BDT.masked_fill(~steps_BT[:, None], float("-inf"))
        peaks_BDT = F.max_pool1d(beyond_BDT, 3, stride=1, padding=1).masked_fill(~steps_BT[:, None], 0.0)
        paths = [*(path(narrow_BDT) for path in self.paths), self.pooled(peaks_BDT)]
        return self.norm(torch.cat(paths, dim=1), steps_BT)


class Inception(Encoder):
    """InceptionTime's network (Ismail Fawaz et al. 2020), without its classifier.

    A missing value counts as zero, the channel's center. Padding changes no feature.

    Args:
        modality: the time series modality, fitted.
        filters: of each path; the features have `filters` times one more than the number of kernels dimensions.
        depth: number of blocks; a shortcut leads around every third.
        kernels: steps that the convolutions of a block see, odd numbers.
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
            raise RecipeError(f"The kernels of the encoder 'inception' are odd numbers of steps, not {list(kernels)}.")
        self.dim = filters * (len(kernels) + 1)
        widths = [modality.channels, *[self.dim] * (depth - 1)]
        self.blocks = nn.ModuleList(Block(width, filters, tuple(kernels)) for width in widths)
        starts = widths[: depth // EVERY * EVERY : EVERY]
        self.skips = nn.ModuleList(nn.Conv1d(width, self.dim, 1, bias=False) for width in starts)
        self.norms = nn.ModuleList(MaskedBatchNorm(self.dim) for _ in starts)

    def forward(self, batch: SignalBatch) -> Features:
        """Encode series to features with one token for each step."""
        steps_BT = batch.valid
        x_BDT = kept_BDT = batch.values
        for i, block in enumerate(self.blocks):
            x_BDT = block(x_BDT, steps_BT)
            if i % EVERY == EVERY - 1:
                skip, norm = self.skips[i // EVERY], self.norms[i // EVERY]
                x_BDT = kept_BDT = F.relu(F.relu(x_BDT) + norm(skip(kept_BDT), steps_BT))
            else:
                x_BDT = F.relu(x_BDT)
        tokens_BTD = x_BDT.transpose(1, 2)
        return Features(pool_tokens(tokens_BTD, steps_BT, "mean"), tokens_BTD, steps_BT)
