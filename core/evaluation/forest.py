"""Random forest regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from sensorium.evaluation.probes import Regressor


class Forest(Regressor):
    """Random forest regression of a numeric label (Breiman 2001).

    Args:
        label: label column to predict; None takes the only one.
        modality: modality whose features are measured; None takes the only one.
        protocol: evaluation protocol: {name: given, repeats: 5} fits five forests, or a mapping such as
            {name: kfold, folds: 10}.
        trees: number of trees, >= 1.
    """

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        trees: int = 500,
    ) -> None:
        super().__init__(label, modality, protocol)
        self.trees = trees

    def learn(self, x_ND, y_N, groups):
        """Fit the trees."""
        self.model = RandomForestRegressor(self.trees, random_state=self.seed, n_jobs=-1).fit(x_ND, y_N)

    def predict(self, x_ND):
        """Return the mean prediction of the trees, summed in a fixed order: threads would change the rounding."""
        return np.mean([tree.predict(x_ND) for tree in self.model.estimators_], axis=0)
