"""Multitask binary classification."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.metrics import roc_auc_score

from sensorium.contracts import Evaluator
from sensorium.errors import SensoriumError, check_not_empty, check_range
from sensorium.evaluation.few_records import task_remarks
from sensorium.evaluation.labels import choose_column, is_missing
from sensorium.evaluation.linear import CS, StandardizedLogistic, fit_logistic, selection_of
from sensorium.evaluation.predictions import joined
from sensorium.evaluation.probes import objects
from sensorium.feature_table import FeatureTable


class Multitask(Evaluator):
    """Mean ROC-AUC over binary tasks, one for each label column; any label may be missing.

    The metric of MoleculeNet, with a linear probe: one logistic regression for each task, on the records that have its
    label. A task counts if both classes occur in the train part and in the test part.

    Args:
        labels: label columns, each with two values (0/1, -1/1, no/yes: the larger is the positive class); None takes
            all.
        modality: modality whose features are measured; None takes the only one.
        protocol: evaluation protocol: given, or a mapping such as {name: kfold, folds: 10}.
        Cs: inverse regularization strengths to choose from, > 0, smallest first; a single one is used as it is.
        max_iter: largest number of L-BFGS iterations, > 0.
    """

    selection = selection_of("ROC-AUC") + ", for each task"
    for_more_classes: ClassVar[str] = "name the tasks by 'labels'"
    """What to do about a label of more than two classes."""

    def __init__(
        self,
        labels: list[str] | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        Cs: tuple[float, ...] = CS,
        max_iter: int = 200,
    ) -> None:
        check_not_empty("evaluator 'multitask'", Cs=Cs)
        check_range("evaluator 'multitask'", "(0, inf)", Cs=Cs)
        check_range("evaluator 'multitask'", "[1, inf)", max_iter=max_iter)
        self.labels, self.modality, self.protocol = labels, modality, protocol
        self.Cs, self.max_iter = Cs, max_iter
        self.models: dict[str, StandardizedLogistic] = {}
        self.task_counts: list[str] = []
        self.predicted: dict[str, np.ndarray] = {}

    def fit(self, train: FeatureTable) -> None:
        """Fit one model for each task that has both classes."""
        modality = choose_column("modality", self.modality, list(train.features))
        self.tasks = [choose_column("label", task, list(train.labels)) for task in self.labels or train.labels]
        self.positive: dict[str, Any] = {}
        for task in self.tasks:
            rows = _known(train, modality, task)
            values = train.labels[task][rows]
            classes = sorted(set(values.tolist()), key=lambda value: (isinstance(value, str), value))
            if len(classes) > 2:
                raise SensoriumError(
                    f"The label '{task}' has {len(classes)} classes, a task has two: {self.for_more_classes}."
                )
            if len(classes) == 2:
                self.positive[task] = classes[1]
                y_N = (values == classes[1]).astype(np.int64)
                self.learn(task, train.features[modality][rows], y_N, [train.groups[row] for row in rows])

    def learn(self, task: str, x_ND: np.ndarray, y_N: np.ndarray, groups: list[str]) -> None:
        """Fit the model of one task."""
        self.models[task], _ = fit_logistic(
            x_ND, y_N, groups, self.Cs, self.max_iter, self.seed, self.device, "ROC-AUC"
        )

    def scores(self, task: str, x_ND: np.ndarray) -> np.ndarray:
        """Return the decision function of a task for each row: the larger, the more probable the positive class."""
        return self.models[task].decision_function(x_ND)

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return the mean ROC-AUC over the tasks that count."""
        modality = choose_column("modality", self.modality, list(test.features))
        blocks: list[dict[str, np.ndarray]] = []
        for task, positive in self.positive.items():
            rows = _known(test, modality, task)
            scores_N = np.asarray(self.scores(task, test.features[modality][rows]), np.float64)
            blocks.append(
                {
                    "id": objects(test.ids[row] for row in rows),
                    "task": np.full(len(rows), task, object),
                    "label": (test.labels[task][rows] == positive).astype(np.int64),
                    "prediction": (scores_N > 0).astype(np.int64),
                    "score": scores_N,
                }
            )
        self.predicted = joined(blocks)
        areas = [found["ROC-AUC"] for found in self.metrics_by_class(self.predicted).values() if "ROC-AUC" in found]
        if not areas:
            raise SensoriumError(
                f"None of the {len(self.tasks)} tasks has both classes in the train part and in the test part."
            )
        unmeasured = len(self.tasks) - len(areas)
        self.task_counts = [_tasks(len(areas))]
        if unmeasured:
            self.task_counts.append(f"{_tasks(unmeasured)} with only one class in a part excluded")
        return {"ROC-AUC": float(np.mean(areas))}

    def predictions(self) -> Mapping[str, np.ndarray]:
        """Return the predictions of the last measurement: of each task for each record that has its label."""
        return self.predicted

    def metrics_of(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the mean ROC-AUC of any predictions; nothing where no task has both classes."""
        areas = [found["ROC-AUC"] for found in self.metrics_by_class(predictions).values() if "ROC-AUC" in found]
        return {"ROC-AUC": float(np.mean(areas))} if areas else {}

    def first_metric(self, predictions: Mapping[str, np.ndarray]) -> Callable[[np.ndarray], float | None]:
        """Return what gives the mean ROC-AUC of any rows of predictions, from their ranks (Mann and Whitney 1947)."""
        from scipy.stats import rankdata  # which takes longer to import than all of sklearn.metrics

        codes_N = np.unique(predictions["task"].astype(str), return_inverse=True)[1]
        positive_N, scores_N = predictions["label"] == 1, predictions["score"]

        def measured(rows: np.ndarray) -> float | None:
            areas = []
            for code in range(codes_N.max() + 1):
                of_task = rows[codes_N[rows] == code]
                positive_M = positive_N[of_task]
                positives, negatives = int(positive_M.sum()), int((~positive_M).sum())
                if positives and negatives:
                    ranks = rankdata(scores_N[of_task])[positive_M].sum() - positives * (positives + 1) / 2
                    areas.append(ranks / (positives * negatives))
            return float(np.mean(areas)) if areas else None

        return measured

    def metrics_by_class(self, predictions: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
        """Return the number of records and of positives of each task and, where both classes occur, its ROC-AUC."""
        found: dict[str, dict[str, float]] = {}
        for task in dict.fromkeys(predictions["task"].tolist()) if predictions else ():
            of_task_N = predictions["task"] == task
            y_N, scores_N = predictions["label"][of_task_N], predictions["score"][of_task_N]
            found[task] = {"records": len(y_N), "positives": int(y_N.sum())}
            if 0 < y_N.sum() < len(y_N):
                found[task]["ROC-AUC"] = float(roc_auc_score(y_N, scores_N))
        return found

    def remarks(self, predictions: Mapping[str, np.ndarray]) -> list[str]:
        """Return how many positives each task has, and which have too few."""
        return task_remarks(
            {
                task: (int(of_task["positives"]), int(of_task["records"]))
                for task, of_task in self.metrics_by_class(predictions).items()
            }
        )

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the ROC-AUC of random scores."""
        return {"ROC-AUC": 0.5}

    def notes(self) -> list[str]:
        """Return how many tasks counted."""
        return self.task_counts


def _known(table: FeatureTable, modality: str, task: str) -> np.ndarray:
    """Return the rows that have the modality and the task's label."""
    known_N = np.array([not is_missing(value) for value in table.labels[task].tolist()], bool)
    return np.flatnonzero(table.present[modality] & known_N)


def _tasks(count: int) -> str:
    return f"{count} task" + "s" * (count != 1)
