"""What scaling learns of the train part, channel by channel, in one pass and in bounded memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import numpy as np

How = Literal["standard", "robust", "none"]

KEPT = 2**18
"""The most values of a channel that quartiles are taken from; beyond, every second, fourth ... one is kept."""
NORMAL = 1.349
"""Distance of the quartiles of a normal law, in deviations."""


class ScaleEstimator(ABC):
    """Sees the series of the train part one by one; says what to subtract from a channel and to divide it by."""

    @abstractmethod
    def add(self, values_CT: np.ndarray) -> None:
        """Take in one series, float64 with nan where a value is missing."""

    @abstractmethod
    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of each channel, float64 (C,); that of a constant channel is 1."""


class Standard(ScaleEstimator):
    """Mean and deviation, by merging those of each series (Chan et al. 1983), which loses no digits to large means."""

    def __init__(self, channels: int) -> None:
        self._count_C, self._mean_C, self._squares_C = np.zeros((3, channels))

    def add(self, values_CT):
        """Merge one series."""
        seen_CT = ~np.isnan(values_CT)
        count_C = seen_CT.sum(1)
        total_C = np.maximum(self._count_C + count_C, 1)
        mean_C = values_CT.sum(1, where=seen_CT) / np.maximum(count_C, 1)
        squares_C = np.square(values_CT - mean_C[:, None]).sum(1, where=seen_CT)
        apart_C = mean_C - self._mean_C
        self._squares_C += squares_C + np.square(apart_C) * self._count_C * count_C / total_C
        self._mean_C = self._mean_C + apart_C * count_C / total_C
        self._count_C = self._count_C + count_C

    def result(self):
        """Return mean and deviation."""
        deviation_C = np.sqrt(self._squares_C / np.maximum(self._count_C, 1))
        return self._mean_C, _never_zero(deviation_C, self._mean_C)


class Robust(ScaleEstimator):
    """Median and distance of the quartiles, in units in which it is the deviation of a normal law."""

    def __init__(self, channels: int) -> None:
        self._kept: list[list[np.ndarray]] = [[] for _ in range(channels)]
        self._every = [1] * channels

    def add(self, values_CT):
        """Keep values of one series."""
        for channel, values_T in enumerate(values_CT):
            kept = self._kept[channel]
            kept.append(values_T[~np.isnan(values_T)][:: self._every[channel]])
            while sum(map(len, kept)) > KEPT:
                kept[:] = [np.concatenate(kept)[::2]]
                self._every[channel] *= 2

    def result(self):
        """Return median and scaled distance of the quartiles."""
        found_C3 = np.zeros((len(self._kept), 3))
        for row_3, kept in zip(found_C3, self._kept, strict=True):
            if sum(map(len, kept)):
                row_3[:] = np.quantile(np.concatenate(kept), (0.25, 0.5, 0.75))
        low_C, median_C, high_C = found_C3.T
        return median_C, _never_zero((high_C - low_C) / NORMAL, median_C)


class Unscaled(ScaleEstimator):
    """Nothing is learned but the number of channels."""

    def __init__(self, channels: int) -> None:
        self._channels = channels

    def add(self, values_CT):
        """Take no notice of one series."""

    def result(self):
        """Return zeros and ones."""
        return np.zeros(self._channels), np.ones(self._channels)


ESTIMATORS: dict[str, type[Standard] | type[Robust] | type[Unscaled]] = {
    "standard": Standard,
    "robust": Robust,
    "none": Unscaled,
}


def _never_zero(std_C: np.ndarray, center_C: np.ndarray) -> np.ndarray:
    """Return 1 for channels that vary by no more than rounding does."""
    return np.where(std_C > 1e-9 * np.maximum(np.abs(center_C), 1e-30), std_C, 1.0)
