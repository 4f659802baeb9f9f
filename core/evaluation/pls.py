"""Partial least squares (PLS) regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.cross_decomposition import PLSRegression

from sensorium.errors import check_range
from sensorium.evaluation.folds import assign_folds, select_by_validation
from sensorium.evaluation.probes import Regressor


class PLS(Regressor):
    """Partial least squares regression of a numeric label (Wold et al. 2001), the standard of spectra.

    The number of components is chosen by squared error over folds of the train part that keep groups together.

    Args:
        label: label column to predict; None takes the only one.
        modality: modality whose features are measured; None takes the only one.
        protocol: evaluation protocol: given, or a mapping such as {name: kfold, folds: 10}.
        max_components: largest number of components, >= 1.
        inner_folds: number of cross-validation folds of the train part that choose it, >= 2.
        standardize: scale every feature to std 1 on the train part; features are centered in any case.
    """

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        max_components: int = 20,
        inner_folds: int = 5,
        standardize: bool = False,
    ) -> None:
        check_range("evaluator 'pls'", "[1, inf)", max_components=max_components)
        check_range("evaluator 'pls'", "[2, inf)", inner_folds=inner_folds)
        super().__init__(label, modality, protocol)
        self.max_components, self.inner_folds, self.standardize = max_components, inner_folds, standardize
        self.selection = (
            f"components by squared error over {inner_folds} folds of the train part, then refitted on all of it"
        )

    def learn(self, x_ND, y_N, groups):
        """Choose the number of components and fit."""
        x_ND = x_ND.astype(np.float64)

        def fit(components: int, rows: np.ndarray | slice) -> PLSRegression:
            return PLSRegression(components, scale=self.standardize).fit(x_ND[rows], y_N[rows])

        def score(components: int, train: np.ndarray, val: np.ndarray) -> float:
            return -float(np.mean((fit(components, train).predict(x_ND[val]).ravel() - y_N[val]) ** 2))

        folds = max(2, min(self.inner_folds, len(set(groups))))
        folds_N = assign_folds(groups, folds, self.seed)
        smallest = len(y_N) - int(np.bincount(folds_N).max())
        most = max(1, min(self.max_components, x_ND.shape[1], smallest - 1))
        components = select_by_validation(range(1, most + 1), score, folds_N, range(folds))
        self.model = fit(components, slice(None))
        self.chosen = [f"{components} component" + "s" * (components > 1)]

    def predict(self, x_ND):
        """Return the predicted values."""
        return self.model.predict(x_ND.astype(np.float64)).ravel()
