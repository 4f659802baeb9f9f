"""Support vector machine (SVM)."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC

from sensorium.errors import SensoriumError, check_not_empty, check_range
from sensorium.evaluation.folds import assign_folds, select_by_validation
from sensorium.evaluation.probes import Classifier, per_class
from sensorium.evaluation.scaling import Scaler


class SVM(Classifier):
    """Support vector machine with an RBF kernel, C chosen by cross-validation inside the train part.

    The standard evaluation of graph and time-series embeddings (InfoGraph, GraphCL, TS2Vec); published graph results
    use protocol {name: kfold, folds: 10, repeats: 5}. The kernel's gamma is scikit-learn's "scale".

    Args:
        label: label column to predict; None takes the only one.
        modality: modality whose features are measured; None takes the only one.
        protocol: evaluation protocol: given, or a mapping such as {name: kfold, folds: 10}.
        Cs: inverse regularization strengths to choose from, > 0, smallest first; a single one is used as it is.
        inner_folds: number of cross-validation folds of the train part that choose C, >= 2.
        standardize: scale every feature to mean 0 and std 1 on the train part.
        max_records: largest number of train records to fit to, a stratified sample, as in TS2Vec: the time of a fit
            grows with their square.
    """

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        Cs: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0),
        inner_folds: int = 5,
        standardize: bool = True,
        max_records: int = 10_000,
    ) -> None:
        check_range("evaluator 'svm'", "[2, inf)", inner_folds=inner_folds, max_records=max_records)
        check_not_empty("evaluator 'svm'", Cs=Cs)
        check_range("evaluator 'svm'", "(0, inf)", Cs=Cs)
        super().__init__(label, modality, protocol)
        self.Cs, self.inner_folds, self.standardize = Cs, inner_folds, standardize
        self.max_records = max_records
        self.selection = (
            f"C by accuracy over {inner_folds} stratified folds of the train part, then refitted on all of it"
        )

    def learn(self, x_ND, y_N, groups):
        """Choose C and fit."""
        total = len(y_N)
        if total > self.max_records:
            parts = -(-total // self.max_records)
            rows = np.flatnonzero(assign_folds([str(row) for row in range(total)], parts, self.seed, y_N) == 0)
            x_ND, y_N, groups = x_ND[rows], y_N[rows], [groups[row] for row in rows]

        def fit(C: float, rows: np.ndarray | slice) -> Pipeline:
            steps = [Scaler()] if self.standardize else []
            return make_pipeline(*steps, SVC(C=C)).fit(x_ND[rows], y_N[rows])

        def score(C: float, train: np.ndarray, val: np.ndarray) -> float:
            if len(set(y_N[train])) < 2 or not len(val):
                raise SensoriumError(
                    f"The train part ({len(y_N)} records) is too small to choose C over {self.inner_folds} folds: "
                    "give one value, such as Cs=[1.0]."
                )
            return fit(C, train).score(x_ND[val], y_N[val])

        folds_N = assign_folds(groups, self.inner_folds, self.seed, y_N)
        C = select_by_validation(self.Cs, score, folds_N, validation_folds=range(self.inner_folds))
        self.model = fit(C, slice(None))
        self.chosen = [f"C = {C:g}"]
        if total > self.max_records:
            self.chosen.append(f"fitted to {len(y_N)} of {total} train records (max_records)")

    def scores(self, x_ND):
        """Return the decision function of each class."""
        return per_class(self.model.decision_function(x_ND))

    def decide(self, x_ND, scores_NC):
        """Return the class that wins most of the comparisons of two classes."""
        return self.model.predict(x_ND)
