"""Ridge regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sensorium.errors import SensoriumError, check_not_empty, check_range
from sensorium.evaluation.folds import assign_folds
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
        check_not_empty("evaluator 'ridge'", alphas=alphas)
        check_range("evaluator 'ridge'", "(0, inf)", alphas=alphas)
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


@dataclass
class RidgeModel:
    """Ridge regression on standardized features.

    Args:
        scaler: mean and std of the features.
        weights_DL: float64.
        intercept: (L,), or a scalar for targets (N,).
    """

    scaler: Scaler
    weights_DL: np.ndarray
    intercept: np.ndarray

    def layer(self) -> tuple[np.ndarray, np.ndarray]:
        """Return weight (L, D) and bias (L,) on features as they are."""
        weight_LD = np.atleast_2d(self.weights_DL.T) / self.scaler.scale_
        return weight_LD, np.atleast_1d(self.intercept) - weight_LD @ self.scaler.mean_

    def predict(self, x_ND: np.ndarray) -> np.ndarray:
        """Return predictions: (N, L), or (N,) when the targets were (N,)."""
        return self.scaler.transform(x_ND) @ self.weights_DL + self.intercept


def fit_ridge(
    x_ND: np.ndarray, y: np.ndarray, alphas: Sequence[float], folds_N: np.ndarray, validation_folds: Sequence[int]
) -> tuple[RidgeModel, float]:
    """Fit ridge regression on standardized features, with alpha chosen by squared error on some folds.

    One eigendecomposition serves all alphas.

    Args:
        x_ND: features, float64.
        y: targets, (N,) or (N, L).
        alphas: regularization strengths to choose from.
        folds_N: the fold of each record.
        validation_folds: the folds on which alpha is chosen; each time, all others are fitted to.

    Returns:
        The model, fitted to all records, and alpha.
    """
    alpha = alphas[0]
    if len(alphas) > 1:
        splits = [(folds_N != fold, folds_N == fold) for fold in validation_folds]
        if not all(train_N.any() and val_N.any() for train_N, val_N in splits):
            raise SensoriumError(
                f"The train part ({len(y)} records) is too small to choose alpha on 20 % of it: "
                "give one value, such as alphas=[1.0]."
            )
        errors = [
            [
                np.mean((model.predict(x_ND[val_N]) - y[val_N]) ** 2)
                for model in fit_ridge_path(x_ND[train_N], y[train_N], alphas)
            ]
            for train_N, val_N in splits
        ]
        alpha = alphas[int(np.argmin(np.mean(errors, axis=0)))]  # the first of equals
    return fit_ridge_path(x_ND, y, [alpha])[0], alpha


def fit_ridge_path(x_ND: np.ndarray, y: np.ndarray, alphas: Sequence[float]) -> list[RidgeModel]:
    """Return ridge regression on standardized features, float64, for each alpha.

    It is solved by the eigenvectors of the smaller of X'X and XX'.
    """
    scaler = Scaler().fit(x_ND)
    x_ND = scaler.transform(x_ND)
    mean = y.mean(0)
    is_tall = len(x_ND) >= x_ND.shape[1]
    target = x_ND.T @ (y - mean) if is_tall else y - mean
    squares_K, axes_MK = np.linalg.eigh(x_ND.T @ x_ND if is_tall else x_ND @ x_ND.T)
    seen = axes_MK.T @ target
    models = []
    for alpha in alphas:
        factor_K = 1 / (np.maximum(squares_K, 0) + alpha)
        solution = axes_MK @ (factor_K.reshape(-1, *[1] * (y.ndim - 1)) * seen)
        models.append(RidgeModel(scaler, solution if is_tall else x_ND.T @ solution, mean))
    return models
