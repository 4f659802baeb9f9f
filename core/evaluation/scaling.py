"""Standardization of features: mean 0, standard deviation 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.preprocessing import StandardScaler

MIN_RELATIVE_STD = 1e-6
"""A feature whose std is a smaller fraction of the largest one is constant up to rounding."""


class Scaler(StandardScaler):
    """scikit-learn's StandardScaler, except that a feature that is constant up to rounding is not scaled.

    Scaling would amplify the rounding noise of a dead unit, and its first nonzero activation on test records.
    """

    def fit(self, X, y=None, sample_weight=None):
        """Compute mean and std of every feature."""
        super().fit(X, y, sample_weight)
        self.scale_[self.scale_ < MIN_RELATIVE_STD * self.scale_.max()] = 1.0
        return self


def standardize_by_group(x_ND: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """Standardize the features of each group separately.

    Args:
        x_ND: features.
        groups: the group of each record.
    """
    standard_ND = np.empty_like(x_ND)
    names, group_N = np.unique(groups, return_inverse=True)
    for group in range(len(names)):
        standard_ND[group_N == group] = Scaler().fit_transform(x_ND[group_N == group])
    return standard_ND
