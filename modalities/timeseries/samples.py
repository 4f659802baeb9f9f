"""Sample series that the conformance kit runs every part of the modality on."""

from __future__ import annotations

import numpy as np


def series() -> list[np.ndarray]:
    """Return series float64 (2, T) of unequal lengths, with gaps, a constant channel and a single step."""
    rng = np.random.default_rng(0)
    made = []
    for length in (48, 31, 17, 1, 40):
        time = np.arange(length) / 8 + rng.uniform(0, 6)
        made.append(np.stack([np.sin(time), np.cos(2 * time)]) + 0.1 * rng.standard_normal((2, length)))
    made[0][:, 5:9] = np.nan
    made[1][0, ::3] = np.nan
    made[2][1] = 3.0
    return made
