"""Many yes-or-no tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline

from sensorium.contracts import Evaluator, FeatureTable
from sensorium.errors import SensoriumError
from sensorium.evaluation.labels import choose, is_missing
from sensorium.evaluation.linear import PENALTIES, RULE, fit_logistic


class Multitask(Evaluator):
    """Area under the ROC curve, averaged over label columns of which any may be missing for any record.

    The measure of MoleculeNet: one logistic regression a column, on the records that have it. Only tasks with both
    classes in the train part and in the test part count.

    Args:
        labels: the label columns, each with two values (0/1, -1/1, no/yes: the later in order is the positive one);
            None takes all.
        modality: modality whose features are measured; None takes the only one.
        protocol: how parts are cut: given, or a mapping such as {name: kfold, folds: 10}.
        penalties: values of C to choose from, the strongest penalty (smallest C) first; a single one is taken as is.
        steps: most L-BFGS steps.
    """

    selection = RULE + ", each task for itself"

    def __init__(
        self,
        labels: list[str] | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        penalties: tuple[float, ...] = PENALTIES,
        steps: int = 200,
    ) -> None:
        self.labels, self.modality, self.protocol = labels, modality, protocol
        self.penalties, self.steps = penalties, steps
        self.models: dict[str, Pipeline] = {}
        self.left_out: list[str] = []

    def fit(self, train: FeatureTable) -> None:
        """Fit one model for each task that has both classes."""
        modality = choose("modality", self.modality, list(train.features))
        self.tasks = [choose("label", task, list(train.labels)) for task in self.labels or train.labels]
        self.positive: dict[str, Any] = {}
        for task in self.tasks:
            rows = _known(train, modality, task)
            values = train.labels[task][rows]
            classes = sorted(set(values.tolist()))
            if len(classes) > 2:
                raise SensoriumError(
                    f"The label '{task}' has {len(classes)} classes: a task has two; name the tasks by 'labels'."
                )
            if len(classes) == 2:
                self.positive[task] = classes[1]
                y_N = (values == classes[1]).astype(np.int64)
                self.learn(task, train.features[modality][rows], y_N, [train.groups[row] for row in rows])

    def learn(self, task: str, x_ND: np.ndarray, y_N: np.ndarray, groups: list[str]) -> None:
        """Fit the model of one task."""
        self.models[task], _ = fit_logistic(x_ND, y_N, groups, self.penalties, self.steps, self.seed)

    def scores(self, task: str, x_ND: np.ndarray) -> np.ndarray:
        """Return for each row a number that is the larger the likelier the positive class."""
        return self.models[task].decision_function(x_ND)

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return the mean area over the tasks that count, from 0 to 1."""
        modality = choose("modality", self.modality, list(test.features))
        areas = []
        for task, positive in self.positive.items():
            rows = _known(test, modality, task)
            y_N = (test.labels[task][rows] == positive).astype(np.int64)
            if len(set(y_N.tolist())) == 2:
                areas.append(roc_auc_score(y_N, self.scores(task, test.features[modality][rows])))
        if not areas:
            raise SensoriumError(
                f"None of the {len(self.tasks)} tasks has both classes in the train part and in the test part."
            )
        unmeasured = len(self.tasks) - len(areas)
        self.left_out = [f"{len(areas)} tasks"]
        if unmeasured:
            self.left_out.append(f"{unmeasured} more with one class only in a part left out")
        return {"roc-auc": float(np.mean(areas))}

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the area of a random ranking."""
        return {"roc-auc": 0.5}

    def notes(self) -> list[str]:
        """Return how many tasks counted."""
        return self.left_out


def _known(table: FeatureTable, modality: str, task: str) -> np.ndarray:
    """Return the rows that have the modality and the task's label."""
    known_N = np.array([not is_missing(value) for value in table.labels[task].tolist()], bool)
    return np.flatnonzero(table.present[modality] & known_N)
