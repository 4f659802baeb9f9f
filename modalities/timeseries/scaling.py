"""Streaming estimators of the center and scale of each channel, in one pass and bounded memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np

Scaling = Literal["standard", "robust", "none"]

ROUNDING = 1e-13
"""Relative differences up to which values differ by rounding errors of double precision alone."""
MAX_STEPS = 2**16
"""Steps between values from which their median is taken, about."""
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
    """Scale 1, and center 0 unless the steps of a channel would be lost in single precision."""

    def __init__(self, channels: int) -> None:
        self._low_C, self._high_C = np.full(channels, np.inf), np.full(channels, -np.inf)
        self.steps = Steps(channels)

    def update(self, values_CT):
        """Take the bounds and the steps of one series."""
        observed_CT = ~np.isnan(values_CT)
        self._low_C = np.minimum(self._low_C, values_CT.min(1, where=observed_CT, initial=np.inf))
        self._high_C = np.maximum(self._high_C, values_CT.max(1, where=observed_CT, initial=-np.inf))
        self.steps.update(values_CT)

    def estimate(self):
        """Return zeros, or the middle of a channel's values as a whole number, and ones."""
        seen_C = self._low_C <= self._high_C
        low_C, high_C = np.where(seen_C, self._low_C, 0.0), np.where(seen_C, self._high_C, 0.0)
        lost_C = self.steps.lost(np.maximum(np.abs(low_C), np.abs(high_C)))
        return np.where(lost_C, np.rint((low_C + high_C) / 2), 0.0), np.ones(len(low_C))


class Steps:
    """The median step from one value to the next, of each channel: that of the first values of the train part."""

    def __init__(self, channels: int) -> None:
        self._steps: list[list[np.ndarray]] = [[] for _ in range(channels)]

    def update(self, values_CT: np.ndarray) -> None:
        """Take the steps of one series, float64 (C, T) with nan where a value is missing."""
        for steps, values_T in zip(self._steps, values_CT, strict=True):
            if sum(map(len, steps)) < MAX_STEPS:
                seen_T = values_T[~np.isnan(values_T)]
                step_T = np.abs(np.diff(seen_T))
                steps.append(step_T[step_T > ROUNDING * np.abs(seen_T).max(initial=0.0)])

    def median(self) -> np.ndarray:
        """Return the median of the steps that are not zero, float64 (C,); infinite where there are none."""
        joined = [np.concatenate(steps) if steps else np.zeros(0) for steps in self._steps]
        return np.array([np.median(step_T) if len(step_T) else np.inf for step_T in joined])

    def lost(self, size_C: np.ndarray) -> np.ndarray:
        """Return of which channels single precision loses half of the steps, bool (C,), at values of some size."""
        return self.median() < 2 * np.spacing(size_C.astype(np.float32))


ESTIMATORS: dict[str, type[StandardEstimator] | type[RobustEstimator] | type[IdentityEstimator]] = {
    "standard": StandardEstimator,
    "robust": RobustEstimator,
    "none": IdentityEstimator,
}


def _nonzero_scale(std_C: np.ndarray, center_C: np.ndarray) -> np.ndarray:
    """Return the scale, 1 for channels that vary by no more than rounding errors."""
    return np.where(std_C > ROUNDING * np.maximum(np.abs(center_C), 1e-30), std_C, 1.0)
