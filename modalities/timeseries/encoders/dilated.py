"""Dilated convolutional neural network, one token for each time step.

Letters: B series, C channels, T time steps, D width.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import Encoder, Features, LayerStack
from sensorium.errors import RecipeError
from sensorium.modalities.signal.batch import SignalBatch
from sensorium.modalities.signal.pooling import pool_tokens
from sensorium.modalities.timeseries.modality import TimeSeriesModality


class SameConv1d(nn.Conv1d):
    """Dilated convolution with "same" padding that skips the taps which would read nothing but padding.

    The output is the same: of three taps further apart than a series is long, only the center one reads it.
    """

    def forward(self, x_BDT: Tensor) -> Tensor:
        """Return as many steps as the input has."""
        center, dilation = self.kernel_size[0] // 2, self.dilation[0]
        is_traced = torch.compiler.is_exporting()  # for series of any length
        reach = center if is_traced else min(center, (x_BDT.shape[2] - 1) // dilation)
        weight_ODk = self.weight[:, :, center - reach : center + reach + 1]
        return F.conv1d(x_BDT, weight_ODk, self.bias, padding=reach * dilation, dilation=dilation)


class Block(nn.Module):
    """Residual block: two dilated convolutions, each after a GELU."""

    def __init__(self, width: int, out: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.first = SameConv1d(width, out, kernel, dilation=dilation)
        self.second = SameConv1d(out, out, kernel, dilation=dilation)
        self.skip = nn.Conv1d(width, out, 1) if out != width else nn.Identity()

    def forward(self, x_BDT: Tensor, valid_B1T: Tensor) -> Tensor:
        """Return the steps after one block; padding is zero before and after it."""
        y_BDT = self.first(F.gelu(x_BDT)) * valid_B1T
        y_BDT = self.second(F.gelu(y_BDT))
        return (y_BDT + self.skip(x_BDT)) * valid_B1T


class Dilated(Encoder):
    """Dilated CNN of TS2Vec (Yue et al. 2022, section 3.2 and appendix C).

    An input projection, timestamp masking, then residual blocks with dilation 2 ** i. While training, projected steps
    are masked at random, independently for each view; a step without an observed value is always masked. Padding
    changes no feature.

    Args:
        modality: the time series modality, fitted.
        dim: width of the features.
        width: width of the hidden layers.
        depth: number of blocks, before the last one, which projects to `dim`.
        kernel: kernel size of the convolutions in steps, odd.
        dropout: dropout on the tokens while training, 0 to 1.
        mask_ratio: fraction of the projected steps that is masked while training, 0 to 1.
        pool: pooling over the valid steps: "max", "mean" or the "last" one.
    """

    def __init__(
        self,
        modality: TimeSeriesModality,
        dim: int = 320,
        width: int = 64,
        depth: int = 10,
        kernel: int = 3,
        dropout: float = 0.1,
        mask_ratio: float = 0.5,
        pool: Literal["max", "mean", "last"] = "max",
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise RecipeError(f"The kernel size of the encoder 'dilated' is an odd number of steps, not {kernel}.")
        self.dim, self.mask_ratio, self.pool = dim, mask_ratio, pool
        self.embed = nn.Conv1d(modality.fixed_channels("dilated"), width, 1)
        outs = [width] * depth + [dim]
        self.blocks = nn.ModuleList(Block(width, out, kernel, 2**i) for i, out in enumerate(outs))
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: SignalBatch) -> Features:
        """Encode series to features with one token for each step."""
        valid_BT = batch.valid
        valid_B1T = valid_BT[:, None]
        observed_B1T = batch.observed.any(1, keepdim=True)
        if self.training and self.mask_ratio:
            observed_B1T = observed_B1T & (torch.rand(observed_B1T.shape, device=batch.device) >= self.mask_ratio)
        x_BDT = self.embed(batch.values) * observed_B1T
        for block in self.blocks:
            x_BDT = block(x_BDT, valid_B1T)
        tokens_BTD = self.dropout(x_BDT.transpose(1, 2))
        return Features(pool_tokens(tokens_BTD, valid_BT, self.pool), tokens_BTD, valid_BT)

    def layer_stack(self) -> LayerStack:
        """Return its blocks, of which the last projects to the width of the features."""
        return LayerStack(self.blocks, tokens_of=_steps)


def _steps(x_BDT: Tensor, features: Features) -> tuple[Tensor, Tensor | None]:
    """Return the steps as tokens (B, T, D), and which of them are valid."""
    return x_BDT.transpose(1, 2), features.mask
