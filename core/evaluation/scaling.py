"""Features brought to mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.preprocessing import StandardScaler

NOTHING = 1e-6
"""A deviation that is this small beside the largest is rounding, not signal."""


class Scaler(StandardScaler):
    """scikit-learn's, for which a feature that hardly moves on the train part is constant, and stays as it is.

    A dead unit that differs by rounding alone there would else be blown up, and so would its first real answer.
    """

    def fit(self, X, y=None, sample_weight=None):
        """Learn mean and deviation of every feature."""
        super().fit(X, y, sample_weight)
        self.scale_[self.scale_ < NOTHING * self.scale_.max()] = 1.0
        return self


def standardized_within(x_ND: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Bring the features of each group's records to mean 0 and deviation 1, for themselves.

    Args:
        x_ND: features.
        groups: the group of each record.
    """
    standard_ND = np.empty_like(x_ND)
    names, group_N = np.unique(groups, return_inverse=True)
    for group in range(len(names)):
        standard_ND[group_N == group] = Scaler().fit_transform(x_ND[group_N == group])
    return standard_ND
