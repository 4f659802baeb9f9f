"""Ridge regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import linear_model
from sklearn.pipeline import Pipeline, make_pipeline

from sensorium.errors import SensoriumError
from sensorium.evaluation.folds import deal, select
from sensorium.evaluation.probes import Regressor
from sensorium.evaluation.scaling import Scaler


class Ridge(Regressor):
    """Predict a number by ridge regression on standardized features.

    Args:
        label: label column to predict; None takes the only one.
        modality: modality whose features are measured; None takes the only one.
        protocol: how parts are cut: given, or a mapping such as {name: kfold, folds: 10}.
        penalties: values of alpha to choose from, the strongest penalty (largest alpha) first; a single one is taken
            as is.
    """

    selection = "alpha by squared error on a fifth of the train part, then fitted to all of it"

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        penalties: tuple[float, ...] = (1e4, 1e3, 1e2, 10.0, 1.0, 0.1, 0.01),
    ) -> None:
        super().__init__(label, modality, protocol)
        self.penalties = penalties

    def learn(self, x_ND, y_N, groups):
        """Choose the penalty and fit."""
        x_ND = x_ND.astype(np.float64)

        def fitted(penalty: float, rows: np.ndarray | slice) -> Pipeline:
            return make_pipeline(Scaler(), linear_model.Ridge(alpha=penalty)).fit(x_ND[rows], y_N[rows])

        def score(penalty: float, learn: np.ndarray, held: np.ndarray) -> float:
            if not len(learn):
                raise SensoriumError(
                    f"The train part ({len(y_N)} records) is too small to choose a penalty on a fifth of it: "
                    "give one, such as penalties=[1.0]."
                )
            return -float(np.mean((fitted(penalty, learn).predict(x_ND[held]) - y_N[held]) ** 2))

        penalty = select(self.penalties, score, deal(groups, 5, self.seed), held=[0])
        self.model = fitted(penalty, slice(None))
        self.chosen = [f"alpha = {penalty:g}"]

    def predict(self, x_ND):
        """Return the number."""
        return self.model.predict(x_ND.astype(np.float64))
