"""Preprocessing of spectra, and of other series, before they are scaled.

Letters: C channels, T time steps (of a spectrum: wavelengths).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.signal import savgol_filter

Step = Literal["snv", "derivative", "second-derivative"]
ORDER = 2
"""Order of the polynomials of the Savitzky-Golay filter."""


def preprocess(values_CT: np.ndarray, steps: Sequence[Step], window: int) -> np.ndarray:
    """Return float64 (C, T) after some steps, in their order.

    Args:
        values_CT: float64, nan where a value is missing.
        steps: "snv" is the standard normal variate (Barnes et al. 1989): each channel of a series minus its mean, over
            its standard deviation. "derivative" and "second-derivative" are those of local polynomials (Savitzky and
            Golay 1964), per step; a missing value makes those in its window missing.
        window: length of the polynomials' window in steps, odd; of a shorter series, its own length.
    """
    for step in steps:
        if step == "snv":
            values_CT = _standard_normal_variate(values_CT)
        else:
            values_CT = _derivative(values_CT, 1 if step == "derivative" else 2, window)
    return values_CT


def _standard_normal_variate(values_CT: np.ndarray) -> np.ndarray:
    observed_CT = ~np.isnan(values_CT)
    count_C1 = np.maximum(observed_CT.sum(1, keepdims=True), 1)
    centered_CT = values_CT - values_CT.sum(1, where=observed_CT, keepdims=True) / count_C1
    std_C1 = np.sqrt(np.square(centered_CT).sum(1, where=observed_CT, keepdims=True) / count_C1)
    size_C1 = np.abs(values_CT).max(1, where=observed_CT, initial=0.0, keepdims=True)
    return centered_CT / np.where(std_C1 > 1e-13 * size_C1, std_C1, 1.0)


def _derivative(values_CT: np.ndarray, order: int, window: int) -> np.ndarray:
    steps = values_CT.shape[1]
    window = min(window, steps - 1 + steps % 2)
    if window <= ORDER:  # too short for a polynomial
        return np.zeros_like(values_CT)
    missing_CT = np.isnan(values_CT)
    centered_CT = values_CT - np.nan_to_num(values_CT).mean(1, keepdims=True)  # large values would be rounded
    derivative_CT = savgol_filter(np.where(missing_CT, 0.0, centered_CT), window, ORDER, deriv=order, axis=1)
    derivative_CT[_is_near(missing_CT, window)] = np.nan
    return derivative_CT


def _is_near(missing_CT: np.ndarray, window: int) -> np.ndarray:
    """Return the steps whose window has a missing value; near an end that is the first or last whole window."""
    half = window // 2
    near_CT = maximum_filter1d(missing_CT.astype(np.uint8), window, axis=1, mode="constant").astype(bool)
    near_CT[:, :half] |= missing_CT[:, :window].any(1, keepdims=True)
    near_CT[:, -half:] |= missing_CT[:, -window:].any(1, keepdims=True)
    return near_CT
