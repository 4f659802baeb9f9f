"""Standardization of regression targets by statistics of the train part.

Letters: N rows, P width.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from math import inf

import torch
from torch import Tensor, nn

from sensorium.errors import SensoriumError

log = logging.getLogger("sensorium")
EXTREME = 1e-3
"""Fraction of the values of a dimension, at least one, that is taken for outliers at either end."""
CONSTANT = 1e-6
"""Standard deviation, as a fraction of the mean's size, up to which a dimension is constant: the rounding of fp32."""


class Standardization(nn.Module):
    """Standardizes values by dimension: mean 0 and standard deviation 1 on the train part, then clamped.

    nan and infinite values are undefined, and count for nothing. The statistics are those of winsorized values: the
    lowest and the highest thousandth of a dimension, at least one value each, count as the next to them, so that an
    outlier does not set the scale. A dimension that is then constant, or is never defined, is dropped. What is learned
    is in buffers: `fit` it in `Objective.fit`.

    Args:
        width: P.
        clip: standardized values are clamped to +-clip, > 0.
    """

    mean: Tensor
    scale: Tensor
    rows: Tensor

    def __init__(self, width: int, clip: float = inf) -> None:
        super().__init__()
        self.clip = clip
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.zeros(width))
        self.register_buffer("rows", torch.zeros((), dtype=torch.int64))
        self._is_fitted = False

    @torch.no_grad()
    def fit(self, parts: Iterable[Tensor]) -> None:
        """Learn the statistics.

        Args:
            parts: float (N, P) each, together a sample of the train part.

        Raises:
            SensoriumError: without a row.
        """
        x_NP = torch.cat([torch.zeros(0, len(self.mean)), *(part_NP.float().cpu() for part_NP in parts)]).double()
        if not len(x_NP):
            raise SensoriumError("Statistics of targets are learned from at least one record of the train part.")
        x_NP[~x_NP.isfinite()] = torch.nan
        count_P = x_NP.isfinite().sum(0)
        tail_P = torch.minimum((EXTREME * count_P).ceil().long(), (count_P - 1).clamp(min=0) // 2)
        sorted_NP = x_NP.sort(0).values  # nan last
        low_P, high_P = (sorted_NP.gather(0, i_P[None])[0] for i_P in (tail_P, (count_P - 1 - tail_P).clamp(min=0)))
        winsorized_NP = torch.minimum(torch.maximum(x_NP, low_P), high_P)
        mean_P = winsorized_NP.nanmean(0)
        std_P = (winsorized_NP - mean_P).square().nanmean(0).sqrt()
        varies_P = std_P > CONSTANT * mean_P.abs()  # False for nan
        largest = torch.finfo(self.scale.dtype).max
        self.mean.copy_(mean_P.nan_to_num())
        self.scale.copy_(torch.where(varies_P, std_P.reciprocal().clamp(max=largest), 0.0))
        self.rows.fill_(len(x_NP))
        if dropped := int((~varies_P).sum()):
            log.info(
                "%d of %d targets are learned: the others are constant, or never defined, in %d rows of the train part",
                *(len(varies_P) - dropped, len(varies_P), len(x_NP)),
            )

    @property
    def dropped(self) -> int:
        """Number of dimensions that are constant, or never defined; the device is read."""
        return int((self.scale == 0).sum())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return standardized values (..., P), 0 where they are undefined or dropped, and a mask of those that are not.

        Args:
            x: float (..., P).

        Raises:
            SensoriumError: before the statistics are learned.
        """
        self._check_fitted()
        with torch.autocast(x.device.type, enabled=False):
            defined = x.isfinite() & (self.scale > 0)
            z = ((x.to(self.mean.dtype) - self.mean) * self.scale).clamp(-self.clip, self.clip)
            return z.masked_fill(~defined, 0.0), defined

    def _check_fitted(self) -> None:
        if not self._is_fitted:  # the device is read once
            self._is_fitted = bool(self.rows > 0)
        if not self._is_fitted:
            raise SensoriumError(
                "The statistics of targets are not learned yet: call learner.fit(batches), with the views of a sample "
                "of the train part, before the first step."
            )
