"""What classifiers and regressors on frozen features share: reading the parts, scoring, chance.

A probe learns in `learn` and answers in `predict`, which is given features alone: no choice can depend on a label
of the test part.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import ConstantInputWarning, spearmanr
from sklearn.metrics import f1_score, recall_score

from sensorium.contracts import Evaluator, FeatureTable
from sensorium.errors import SensoriumError
from sensorium.evaluation.labels import Labeled, choose, is_missing, labeled, numbers, records
from sensorium.evaluation.scaling import standardized_within


class Probe(Evaluator):
    """A probe of one modality's features for one label column."""

    def __init__(
        self, label: str | None, modality: str | None, protocol: str | Mapping[str, Any], within: str | None = None
    ) -> None:
        self.label, self.modality, self.protocol, self.within = label, modality, protocol, within
        self.chosen: list[str] = []
        self.left_out: list[str] = []

    def part_of(self, table: FeatureTable) -> Labeled:
        """Return the records of a part that have value and label, in the groups of `within` and standardized there."""
        part = labeled(table, self.label, self.modality)
        if self.within is not None:
            column = table.labels[choose("label", self.within, list(table.labels))][part.rows_N]
            part.groups = ["none" if is_missing(name) else f"{self.within} {name}" for name in column]
            part.x_ND = standardized_within(part.x_ND, part.groups)
        return part

    @abstractmethod
    def learn(self, x_ND: np.ndarray, y_N: np.ndarray, groups: list[str]) -> None:
        """Fit to the train part; what was chosen goes to `chosen`, as notes."""

    @abstractmethod
    def predict(self, x_ND: np.ndarray) -> np.ndarray:
        """Return one answer for each row."""

    def notes(self) -> list[str]:
        """Return what was chosen and how many test records could not be measured."""
        return self.chosen + self.left_out

    def leave_out(self, count: int) -> None:
        """Remember how many test records lack the modality or the label."""
        self.left_out = [f"{records(count)} without label or value left out"] if count else []


class Classifier(Probe):
    """Predicts a class. Classes are those of the train part; a test record of any other class counts as a miss."""

    def fit(self, train: FeatureTable) -> None:
        """Number the classes and learn them."""
        part = self.part_of(train)
        self.classes = {value: number for number, value in enumerate(sorted(set(part.values), key=str))}
        if len(self.classes) < 2:
            raise SensoriumError(
                f"The label '{part.label}' has one class in the train part, {part.values[0]!r}: "
                "there is nothing to tell apart."
            )
        y_N = np.array([self.classes[value] for value in part.values])
        self.commonest = int(np.bincount(y_N).argmax())
        self.learn(part.x_ND, y_N, part.groups)

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return accuracy, balanced accuracy (mean recall of the classes) and macro-F1."""
        x_ND, y_N = self._read(test)
        return _class_scores(y_N, self.predict(x_ND))

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return what naming the train part's commonest class every time scores."""
        _, y_N = self._read(test)
        return _class_scores(y_N, np.full_like(y_N, self.commonest))

    def _read(self, test: FeatureTable) -> tuple[np.ndarray, np.ndarray]:
        part = self.part_of(test)
        self.leave_out(part.left_out)
        codes = dict(self.classes)
        y_N = np.array([codes.setdefault(value, len(codes)) for value in part.values])
        return part.x_ND, y_N


def _class_scores(y_N: np.ndarray, predicted_N: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": float(np.mean(y_N == predicted_N)),
        "balanced accuracy": float(recall_score(y_N, predicted_N, labels=np.unique(y_N), average="macro")),
        "macro-F1": float(f1_score(y_N, predicted_N, average="macro", zero_division=0)),
    }


class Regressor(Probe):
    """Predicts a number."""

    def fit(self, train: FeatureTable) -> None:
        """Learn the numbers."""
        part = self.part_of(train)
        y_N = numbers(part)
        self.mean = float(y_N.mean())
        self.learn(part.x_ND, y_N, part.groups)

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return root mean squared error, R² and Spearman's rank correlation."""
        x_ND, y_N = self._read(test)
        return _number_scores(y_N, self.predict(x_ND))

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return what answering the train part's mean every time scores."""
        _, y_N = self._read(test)
        return _number_scores(y_N, np.full_like(y_N, self.mean))

    def _read(self, test: FeatureTable) -> tuple[np.ndarray, np.ndarray]:
        part = self.part_of(test)
        self.leave_out(part.left_out)
        return part.x_ND, numbers(part)


def _number_scores(y_N: np.ndarray, predicted_N: np.ndarray) -> dict[str, float]:
    error, spread = np.mean((y_N - predicted_N) ** 2), np.var(y_N)
    if spread == 0:
        raise SensoriumError("Every test record has the same number as its label: there is nothing to predict.")
    return {
        "rmse ↓": float(np.sqrt(error)),
        "r2": float(1 - error / spread),
        "spearman": spearman(y_N, predicted_N),
    }


def spearman(a_N: np.ndarray, b_N: np.ndarray) -> float:
    """Return the rank correlation, ties at their mean rank; 0 where one side is constant and so ranks nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return float(np.nan_to_num(spearmanr(a_N, b_N).statistic))
