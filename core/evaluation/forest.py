"""Random forests."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from sensorium.evaluation.probes import Regressor


class Forest(Regressor):
    """Predict a number by a random forest (Breiman 2001).

    Args:
        label: label column to predict; None takes the only one.
        modality: modality whose features are measured; None takes the only one.
        protocol: how parts are cut: {name: given, repeats: 5} grows five forests, or a mapping such as
            {name: kfold, folds: 10}.
        trees: how many trees.
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
        """Grow the trees."""
        self.model = RandomForestRegressor(self.trees, random_state=self.seed, n_jobs=-1).fit(x_ND, y_N)

    def predict(self, x_ND):
        """Return the mean answer of the trees, summed in their order: threads would round it one way or the other."""
        return np.mean([tree.predict(x_ND) for tree in self.model.estimators_], axis=0)
