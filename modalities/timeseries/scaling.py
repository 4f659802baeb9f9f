"""Streaming estimators of the center and scale of each channel, in one pass and bounded memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np

Scaling = Literal["standard", "robust", "none"]

MAX_KEPT = 2**18
"""Maximum number of values of a channel that quartiles are taken from; beyond it, every 2nd, 4th ... is kept."""
NORMAL_IQR = 1.349
"""Interquartile range of the normal distribution, in standard deviations."""


class ScaleEstimator(ABC):
    """Estimates the center and scale of each channel from the series of the train part, one by one."""

    @abstractmethod
    def update(self, values_CT: np.ndarray) -> None:
        """Update with one series, float64 (C, T) with nan where a value is missing."""

    @abstractmethod
    def estimate(self) -> tuple[np.ndarray, np.ndarray]:
        """Return center and scale of each channel, float64 (C,); the scale of a constant channel is 1."""


class StandardEstimator(ScaleEstimator):
    """Mean and standard deviation, merged over series; numerically stable for large means (Chan et al. 1983)."""

    def __init__(self, channels: int) -> None:
        self._count_C, self._mean_C, self._squares_C = np.zeros((3, channels))

    def update(self, values_CT):
        """Merge one series."""
        observed_CT = ~np.isnan(values_CT)
        count_C = observed_CT.sum(1)
        total_C = np.maximum(self._count_C + count_C, 1)
        mean_C = values_CT.sum(1, where=observed_CT) / np.maximum(count_C, 1)
        squares_C = np.square(values_CT - mean_C[:, None]).sum(1, where=observed_CT)
        delta_C = mean_C - self._mean_C
        self._squares_C += squares_C + np.square(delta_C) * self._count_C * count_C / total_C
        self._mean_C = self._mean_C + delta_C * count_C / total_C
        self._count_C = self._count_C + count_C

    def estimate(self):
        """Return mean and standard deviation."""
        std_C = np.sqrt(self._squares_C / np.maximum(self._count_C, 1))
        return self._mean_C, _nonzero_scale(std_C, self._mean_C)


class RobustEstimator(ScaleEstimator):
    """Median and interquartile range, scaled to the standard deviation of a normal distribution."""

    def __init__(self, channels: int) -> None:
        self._kept: list[list[np.ndarray]] = [[] for _ in range(channels)]
        self._every = [1] * channels

    def update(self, values_CT):
        """Keep values of one series."""
        for channel, values_T in enumerate(values_CT):
            kept = self._kept[channel]
            kept.append(values_T[~np.isnan(values_T)][:: self._every[channel]])
            while sum(map(len, kept)) > MAX_KEPT:
                kept[:] = [np.concatenate(kept)[::2]]
                self._every[channel] *= 2

    def estimate(self):
        """Return median and scaled interquartile range."""
        quartiles_C3 = np.zeros((len(self._kept), 3))
        for row_3, kept in zip(quartiles_C3, self._kept, strict=True):
            if sum(map(len, kept)):
                row_3[:] = np.quantile(np.concatenate(kept), (0.25, 0.5, 0.75))
        low_C, median_C, high_C = quartiles_C3.T
        return median_C, _nonzero_scale((high_C - low_C) / NORMAL_IQR, median_C)


class IdentityEstimator(ScaleEstimator):
    """Center 0 and scale 1."""

    def __init__(self, channels: int) -> None:
        self._channels = channels

    def update(self, values_CT):
        """Ignore the series."""

    def estimate(self):
        """Return zeros and ones."""
        return np.zeros(self._channels), np.ones(self._channels)


ESTIMATORS: dict[str, type[StandardEstimator] | type[RobustEstimator] | type[IdentityEstimator]] = {
    "standard": StandardEstimator,
    "robust": RobustEstimator,
    "none": IdentityEstimator,
}


def _nonzero_scale(std_C: np.ndarray, center_C: np.ndarray) -> np.ndarray:
    """Return the scale, 1 for channels that vary by no more than rounding errors."""
    return np.where(std_C > 1e-9 * np.maximum(np.abs(center_C), 1e-30), std_C, 1.0)
