"""Dilated convolutions, one token for each step.

Letters: B series, C channels, T steps, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Encoder, Features
from sensorium.errors import RecipeError
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.pooling import pool_tokens
from sensorium.modalities.timeseries.modality import TimeSeriesModality


class Taps(nn.Conv1d):
    """A dilated convolution that keeps the length, and leaves out taps that would see nothing but what lies beyond.

    Nothing else changes: of three taps that are further apart than a series is long, only the middle one reads it.
    """

    def forward(self, x_BDT: Tensor) -> Tensor:
        """Return as many steps as came in."""
        middle, dilation = self.kernel_size[0] // 2, self.dilation[0]
        reach = min(middle, (x_BDT.shape[2] - 1) // dilation)
        weight_ODk = self.weight[:, :, middle - reach : middle + reach + 1]
        return F.conv1d(x_BDT, weight_ODk, self.bias, padding=reach * dilation, dilation=dilation)


class Block(nn.Module):
    """Two dilated convolutions, each after a GELU, added to what came in."""

    def __init__(self, width: int, out: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.first = Taps(width, out, kernel, dilation=dilation)
        self.second = Taps(out, out, kernel, dilation=dilation)
        self.skip = nn.Conv1d(width, out, 1) if out != width else nn.Identity()

    def forward(self, x_BDT: Tensor, real_B1T: Tensor) -> Tensor:
        """Return the steps after one block; padding goes in as zero, as what lies beyond the ends does."""
        y_BDT = self.first(F.gelu(x_BDT)) * real_B1T
        y_BDT = self.second(F.gelu(y_BDT))
        return (y_BDT + self.skip(x_BDT)) * real_B1T


class Dilated(Encoder):
    """Residual dilated convolutions (TS2Vec, Yue et al. 2022, section 3.2 and appendix C).

    Steps are projected, then block i sees `kernel` steps that lie 2 ** i apart. While training, projected steps are
    hidden at random, anew for each view. A step of which nothing is observed is always hidden. Padding changes no
    feature.

    Args:
        modality: the time series modality, fitted.
        dim: width of the features.
        width: width between the blocks.
        depth: number of blocks, before the one that leads to `dim`.
        kernel: steps that a convolution sees, an odd number.
        dropout: on the tokens, while training.
        hide: share of the projected steps that are hidden while training.
        pool: what stands for the whole series: the "max" over its steps, their "mean", or the "last" of them.
    """

    def __init__(
        self,
        modality: TimeSeriesModality,
        dim: int = 320,
        width: int = 64,
        depth: int = 10,
        kernel: int = 3,
        dropout: float = 0.1,
        hide: float = 0.5,
        pool: Literal["max", "mean", "last"] = "max",
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise RecipeError(f"The kernel of the encoder 'dilated' is an odd number of steps, not {kernel}.")
        self.dim, self.hide, self.pool = dim, hide, pool
        self.embed = nn.Conv1d(modality.channels, width, 1)
        outs = [width] * depth + [dim]
        self.blocks = nn.ModuleList(Block(width, out, kernel, 2**i) for i, out in enumerate(outs))
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: SignalBatch) -> Features:
        """Encode series to features with one token for each step."""
        steps_BT = batch.valid
        real_B1T = steps_BT[:, None]
        seen_B1T = batch.observed.any(1, keepdim=True)
        if self.training and self.hide:
            seen_B1T = seen_B1T & (torch.rand(seen_B1T.shape, device=batch.device) >= self.hide)
        x_BDT = self.embed(batch.values) * seen_B1T
        for block in self.blocks:
            x_BDT = block(x_BDT, real_B1T)
        tokens_BTD = self.dropout(x_BDT.transpose(1, 2))
        return Features(pool_tokens(tokens_BTD, steps_BT, self.pool), tokens_BTD, steps_BT)
