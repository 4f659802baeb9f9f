"""Numbers that single or double precision does not hold."""

from __future__ import annotations

import numpy as np

EXACT = 2**53
"""Integers beyond it have no exact double."""


def narrowed(values_CT: np.ndarray) -> np.ndarray:
    """Return values as float32 where that is exact, which halves the memory, and else as they are."""
    if values_CT.dtype != np.float64:
        return values_CT
    with np.errstate(over="ignore"):
        narrow_CT = values_CT.astype(np.float32)
    return narrow_CT if np.array_equal(narrow_CT, values_CT, equal_nan=True) else values_CT
