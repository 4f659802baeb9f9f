"""Features brought to mean 0 and deviation 1."""

from __future__ import annotations

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


def standardised_within(x_ND: np.ndarray, names_N: np.ndarray) -> np.ndarray:
    """Bring the features of each group's records to mean 0 and deviation 1, for themselves.

    Args:
        x_ND: features.
        names_N: the group of each record; records without one (None) are a group together.
    """
    standard_ND = np.empty_like(x_ND)
    for name in set(names_N.tolist()):
        rows_N = np.flatnonzero([other == name for other in names_N])
        standard_ND[rows_N] = Scaler().fit_transform(x_ND[rows_N])
    return standard_ND
