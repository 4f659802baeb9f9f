"""Batch normalization with a padding mask.

Letters: B records, D channels, T tokens or time steps.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sensorium.parallel.batch_norm import is_synchronized, joined_sum


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalization over valid tokens or steps only, of maps with any axes between channels and steps.

    Padding is masked: gathering the valid steps would cost several times as much.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, x: Tensor, valid_BT: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Normalize (B, D, ..., T); padding comes out as zero.

        Args:
            x: the input.
            valid_BT: bool, the padding mask; None when all steps are valid, which is faster.
        """
        if valid_BT is None and not is_synchronized(self):
            return super().forward(x.flatten(2)).view_as(x)
        if valid_BT is None:  # other ranks may have padding, and all must take the same sums
            valid_BT = x.new_ones(len(x), x.shape[-1], dtype=torch.bool)
        padding = ~valid_BT.view(len(x), *[1] * (x.ndim - 2), x.shape[-1])
        shape = (1, -1, *[1] * (x.ndim - 2))
        with torch.autocast(x.device.type, enabled=False):
            wide = x if x.dtype == torch.float64 else x.float()
            if self.training:
                mean_D, var_D = self._statistics(wide, padding, valid_BT.sum() * math.prod(x.shape[2:-1]))
            else:
                mean_D, var_D = self.running_mean, self.running_var
            scale_D = (var_D + self.eps).rsqrt()
            scale_D = self.weight * scale_D if self.affine else scale_D
            offset_D = self.bias - mean_D * scale_D if self.affine else -mean_D * scale_D
            normed = torch.addcmul(offset_D.view(shape), wide, scale_D.view(shape))
            return normed.masked_fill(padding, 0.0).to(x.dtype)

    def _statistics(self, x: Tensor, padding: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each channel over `count` valid positions, and update the running ones."""
        axes = [0, *range(2, x.ndim)]
        sums_D = x.masked_fill(padding, 0.0).sum(axes)
        joined = joined_sum(self, torch.cat([sums_D, count.to(x.dtype)[None]]))
        sums_D, count, momentum = joined[:-1], joined[-1].clamp(min=1), self.momentum * (joined[-1] > 0).to(x.dtype)
        mean_D = sums_D / count
        deviations = (x - mean_D.view(1, -1, *[1] * (x.ndim - 2))).masked_fill(padding, 0.0)
        var_D = joined_sum(self, deviations.square().sum(axes)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean_D.to(self.running_mean.dtype), momentum.to(self.running_mean.dtype))
            unbiased_D = var_D * count / (count - 1).clamp(min=1)
            self.running_var.lerp_(unbiased_D.to(self.running_var.dtype), momentum.to(self.running_var.dtype))
        return mean_D, var_D
