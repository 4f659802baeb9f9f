"""A linear layer on frozen features, as a supervised task fits it: the linear probe, at which fine-tuning starts.

Letters: N records, D features, K outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LinearProbe:
    """A linear layer on features as the encoder gives them, fitted to standardized ones.

    Args:
        weight_KD: float64.
        bias_K: float64.
        mean_D: float64, of each feature over the records that it was fitted to.
        std_D: float64, their standard deviation, 1 where a feature is constant.
        about: what was chosen, such as the penalty.
    """

    weight_KD: np.ndarray
    bias_K: np.ndarray
    mean_D: np.ndarray
    std_D: np.ndarray
    about: str

    def outputs(self, x_ND: np.ndarray) -> np.ndarray:
        """Return outputs, float32 (N, K)."""
        return (x_ND @ self.weight_KD.T + self.bias_K).astype(np.float32)
