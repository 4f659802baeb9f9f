"""Features brought to mean 0 and deviation 1."""

from __future__ import annotations

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
