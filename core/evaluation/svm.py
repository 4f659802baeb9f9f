"""Support vector machines."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC

from sensorium.errors import SensoriumError
from sensorium.evaluation.folds import deal, select
from sensorium.evaluation.probes import Classifier
from sensorium.evaluation.scaling import Scaler


class SVM(Classifier):
    """Classify by a support vector machine with a radial kernel, its penalty chosen by cross-validation inside train.

    The measure of graph and time-series embeddings (InfoGraph, GraphCL, TS2Vec); published graph figures take
    protocol {name: kfold, folds: 10, repeats: 5}. The kernel's width is scikit-learn's "scale".

    Args:
        label: label column to predict; None takes the only one.
        modality: modality whose features are measured; None takes the only one.
        protocol: how parts are cut: given, or a mapping such as {name: kfold, folds: 10}.
        penalties: values of C to choose from, the strongest penalty (smallest C) first; a single one is taken as is.
        inner: folds of the train part that choose among them.
        standardize: bring every feature to mean 0 and deviation 1 on the train part.
    """

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        penalties: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0),
        inner: int = 5,
        standardize: bool = True,
    ) -> None:
        super().__init__(label, modality, protocol)
        self.penalties, self.inner, self.standardize = penalties, inner, standardize
        self.selection = f"C by accuracy over {inner} stratified folds of the train part, then fitted to all of it"

    def learn(self, x_ND, y_N, groups):
        """Choose the penalty and fit."""

        def fitted(penalty: float, rows: np.ndarray | slice) -> Pipeline:
            steps = [Scaler()] if self.standardize else []
            return make_pipeline(*steps, SVC(C=penalty)).fit(x_ND[rows], y_N[rows])

        def score(penalty: float, learn: np.ndarray, held: np.ndarray) -> float:
            if len(set(y_N[learn])) < 2 or not len(held):
                raise SensoriumError(
                    f"The train part ({len(y_N)} records) is too small to choose a penalty over {self.inner} folds: "
                    "give one, such as penalties=[1.0]."
                )
            return fitted(penalty, learn).score(x_ND[held], y_N[held])

        folds_N = deal(groups, self.inner, self.seed, y_N)
        penalty = select(self.penalties, score, folds_N, held=range(self.inner))
        self.model = fitted(penalty, slice(None))
        self.chosen = [f"C = {penalty:g}"]

    def predict(self, x_ND):
        """Return the class."""
        return self.model.predict(x_ND)
