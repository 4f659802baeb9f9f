"""Random forests of classes, numbers or binary tasks."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from sensorium.contracts import Evaluator
from sensorium.errors import check_range
from sensorium.evaluation.multitask import Multitask
from sensorium.evaluation.probes import Classifier, Regressor
from sensorium.feature_table import FeatureTable


class Forest(Evaluator):
    """Random forest (Breiman 2001) of a class, a numeric label, or of binary tasks with missing labels.

    Args:
        label: label column to predict; None takes the only one.
        labels: label columns of multitask; None takes all.
        modality: modality whose features are measured; None takes the only one.
        protocol: evaluation protocol: {name: given, repeats: 5} fits five forests, or a mapping such as
            {name: kfold, folds: 10}.
        task: regression of a number; classification, with the metrics of `linear`; or multitask, with those of
            `multitask`.
        trees: number of trees, >= 1.
    """

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        trees: int = 500,
        task: Literal["regression", "classification", "multitask"] = "regression",
        labels: list[str] | None = None,
    ) -> None:
        check_range("evaluator 'forest'", "[1, inf)", trees=trees)
        self.label, self.modality, self.protocol = label, modality, protocol
        self.trees, self.task, self.labels = trees, task, labels
        self.forest = self._unfitted()

    def _unfitted(self) -> Evaluator:
        if self.task == "multitask":
            return _OfTasks(self.labels, self.modality, self.trees)
        kind = _OfClasses if self.task == "classification" else _OfNumbers
        return kind(self.label, self.modality, self.trees)

    def fit(self, train: FeatureTable) -> None:
        """Fit the trees."""
        self.forest = self._unfitted()  # of its own, whatever it was copied from
        self.forest.seed = self.seed
        self.forest.fit(train)

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of the task."""
        return self.forest.measure(test)

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return those of a constant prediction."""
        return self.forest.chance(test)

    def notes(self) -> list[str]:
        """Return how many records were excluded, or how many tasks counted."""
        return self.forest.notes()

    def predictions(self):
        """Return the predictions of the last measurement."""
        return self.forest.predictions()

    def metrics_of(self, predictions):
        """Return the metrics of any predictions."""
        return self.forest.metrics_of(predictions)

    def metrics_by_class(self, predictions):
        """Return the metrics of each class or task."""
        return self.forest.metrics_by_class(predictions)

    def remarks(self, predictions):
        """Return sentences on the measured records."""
        return self.forest.remarks(predictions)


class _OfNumbers(Regressor):
    def __init__(self, label: str | None, modality: str | None, trees: int) -> None:
        super().__init__(label, modality, "given")
        self.trees = trees

    def learn(self, x_ND, y_N, groups):
        """Fit the trees."""
        self.model = RandomForestRegressor(self.trees, random_state=self.seed, n_jobs=-1).fit(x_ND, y_N)

    def predict(self, x_ND):
        """Return the mean prediction of the trees, summed in a fixed order: threads would change the rounding."""
        return sum(tree.predict(x_ND) for tree in self.model.estimators_) / self.trees


class _OfClasses(Classifier):
    def __init__(self, label: str | None, modality: str | None, trees: int) -> None:
        super().__init__(label, modality, "given")
        self.trees = trees

    def learn(self, x_ND, y_N, groups):
        """Fit the trees."""
        self.model = RandomForestClassifier(self.trees, random_state=self.seed, n_jobs=-1).fit(x_ND, y_N)

    def scores(self, x_ND):
        """Return the mean probabilities of the trees."""
        return _probabilities(self.model, x_ND)


class _OfTasks(Multitask):
    def __init__(self, labels: list[str] | None, modality: str | None, trees: int) -> None:
        super().__init__(labels, modality)
        self.trees = trees
        self.forests: dict[str, RandomForestClassifier] = {}

    def learn(self, task, x_ND, y_N, groups):
        """Fit the trees of one task."""
        self.forests[task] = RandomForestClassifier(self.trees, random_state=self.seed, n_jobs=-1).fit(x_ND, y_N)

    def scores(self, task, x_ND):
        """Return the probability of the positive class, less one half."""
        return _probabilities(self.forests[task], x_ND)[:, 1] - 0.5


def _probabilities(forest: RandomForestClassifier, x_ND: np.ndarray) -> np.ndarray:
    """Return the mean probabilities of the trees, (N, C), summed in a fixed order as above."""
    return sum(tree.predict_proba(x_ND) for tree in forest.estimators_) / len(forest.estimators_)
