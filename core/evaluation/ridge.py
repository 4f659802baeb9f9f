"""Ridge regression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import linear_model
from sklearn.pipeline import Pipeline, make_pipeline

from sensorium.errors import SensoriumError
from sensorium.evaluation.folds import assign_folds, select_by_validation
from sensorium.evaluation.probes import Regressor
from sensorium.evaluation.scaling import Scaler

ALPHAS = (1e4, 1e3, 1e2, 10.0, 1.0, 0.1, 0.01)


class Ridge(Regressor):
    """Ridge regression of a numeric label on standardized features.

    Args:
        label: label column to predict; None takes the only one.
        modality: modality whose features are measured; None takes the only one.
        protocol: evaluation protocol: given, or a mapping such as {name: kfold, folds: 10}.
        alphas: regularization strengths to choose from, > 0, largest first; a single one is used as it is.
    """

    selection = "alpha by squared error on 20 % of the train part, then refitted on all of it"

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        alphas: tuple[float, ...] = ALPHAS,
    ) -> None:
        super().__init__(label, modality, protocol)
        self.alphas = alphas

    def learn(self, x_ND, y_N, groups):
        """Choose alpha and fit."""
        self.model, alpha = fit_ridge(
            x_ND.astype(np.float64), y_N, self.alphas, assign_folds(groups, 5, self.seed), validation_folds=[0]
        )
        self.chosen = [f"alpha = {alpha:g}"]

    def predict(self, x_ND):
        """Return the predicted values."""
        return self.model.predict(x_ND.astype(np.float64))


def fit_ridge(
    x_ND: np.ndarray, y: np.ndarray, alphas: Sequence[float], folds_N: np.ndarray, validation_folds: Sequence[int]
) -> tuple[Pipeline, float]:
    """Fit ridge regression on standardized features, with alpha chosen by squared error on some folds.

    Args:
        x_ND: features, float64.
        y: targets, (N,) or (N, L).
        alphas: regularization strengths to choose from.
        folds_N: the fold of each record.
        validation_folds: the folds on which alpha is chosen; each time, all others are fitted to.

    Returns:
        The model, fitted to all records, and alpha.
    """

    def fit(alpha: float, rows: np.ndarray | slice) -> Pipeline:
        return make_pipeline(Scaler(), linear_model.Ridge(alpha=alpha)).fit(x_ND[rows], y[rows])

    def score(alpha: float, train: np.ndarray, val: np.ndarray) -> float:
        if not len(train):
            raise SensoriumError(
                f"The train part ({len(y)} records) is too small to choose alpha on 20 % of it: "
                "give one value, such as alphas=[1.0]."
            )
        return -float(np.mean((fit(alpha, train).predict(x_ND[val]) - y[val]) ** 2))

    alpha = select_by_validation(alphas, score, folds_N, validation_folds)
    return fit(alpha, slice(None)), alpha
