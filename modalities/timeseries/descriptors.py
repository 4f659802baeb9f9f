"""Descriptors of time series: statistics of each channel's values, changes, autocorrelation and spectrum.

Letters: C channels, T time steps, F descriptors of a channel.
"""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np

LAGS = (1, 2, 4, 8)
BANDS = 4
"""Octaves of the spectrum from the highest frequency down; the last has all that is below."""
NAMES = (
    *("mean", "standard deviation", "skewness", "kurtosis"),
    *("minimum", "lower quartile", "median", "upper quartile", "maximum"),
    *("position of the minimum", "position of the maximum", "slope", "mean absolute change", "crossings of the mean"),
    *(f"autocorrelation at lag {lag}" for lag in LAGS),
    *(f"fraction of power in octave {band}" for band in range(BANDS)),
    *("spectral centroid", "fraction of observed steps"),
)
"""Names of the descriptors of one channel, in order."""


def names_of_channels(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the descriptors of named channels."""
    return tuple(f"{name} of {channel}" for channel in channels for name in NAMES)


NAMES_OF_ANY = tuple(f"{what} over channels of the {name}" for what in ("mean", "standard deviation") for name in NAMES)
"""Names of the descriptors of series of any channels."""


def of_channels(values_CT: np.ndarray) -> np.ndarray:
    """Return the descriptors of all channels side by side, float32 (C x F,), nan where undefined.

    Args:
        values_CT: float32, nan where a value is missing.
    """
    return np.concatenate([_of_channel(x_T.astype(np.float64)) for x_T in values_CT]).astype(np.float32)


def of_any_channels(values_CT: np.ndarray) -> np.ndarray:
    """Return mean and standard deviation of each descriptor over the channels, float32 (2 x F,)."""
    x_CF = of_channels(values_CT).reshape(len(values_CT), -1)
    with warnings.catch_warnings():  # of a descriptor that no channel has, whose mean is nan
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.concatenate([np.nanmean(x_CF, 0), np.nanstd(x_CF, 0)]).astype(np.float32)


def _of_channel(x_T: np.ndarray) -> np.ndarray:
    """Return the descriptors of one channel, float64 (F,)."""
    steps_T = np.flatnonzero(np.isfinite(x_T))
    if not len(steps_T):
        return np.array([*[np.nan] * (len(NAMES) - 1), 0.0])
    seen_N, count = x_T[steps_T], len(x_T)
    filled_T = np.interp(np.arange(count), steps_T, seen_N)  # for what needs steps at equal distances
    mean, std = seen_N.mean(), seen_N.std()
    z_N = (seen_N - mean) / std if std > 0 else np.full(len(seen_N), np.nan)
    centered_T = filled_T - filled_T.mean()
    place_T = np.linspace(-1, 1, count) if count > 1 else np.zeros(1)
    changes = np.abs(np.diff(filled_T)).mean() if count > 1 else np.nan
    crossings = (np.diff(np.sign(centered_T)) != 0).mean() if count > 1 else np.nan
    slope = (place_T * centered_T).mean() / (place_T**2).mean() if count > 1 else np.nan
    quantiles = np.quantile(seen_N, (0, 0.25, 0.5, 0.75, 1))
    ends = (steps_T[seen_N.argmin()] / count, steps_T[seen_N.argmax()] / count)
    values = [mean, std, (z_N**3).mean(), (z_N**4).mean(), *quantiles, *ends, slope, changes, crossings]
    return np.array([*values, *_autocorrelations(centered_T), *_spectrum(centered_T), len(steps_T) / count])


def _autocorrelations(x_T: np.ndarray) -> list[float]:
    power = float((x_T**2).sum())
    return [float((x_T[lag:] * x_T[:-lag]).sum()) / power if len(x_T) > lag and power > 0 else np.nan for lag in LAGS]


def _spectrum(x_T: np.ndarray) -> list[float]:
    """Return the fractions of power in octaves, from the highest, and the centroid of the spectrum, 0 to 1."""
    power_K = np.abs(np.fft.rfft(x_T))[1:] ** 2
    total = float(power_K.sum())
    if not total > 0:
        return [np.nan] * (BANDS + 1)
    place_K = np.arange(1, len(power_K) + 1) / len(power_K)
    edges = [1.0, *(0.5 ** (band + 1) for band in range(BANDS - 1)), 0.0]
    bands = [float(power_K[(place_K <= high) & (place_K > low)].sum()) for high, low in pairwise(edges)]
    return [*(band / total for band in bands), float((place_K * power_K).sum()) / total]
