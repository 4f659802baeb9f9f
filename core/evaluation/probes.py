"""Base classes of classifiers and regressors on frozen features: reading the parts, metrics, chance.

A probe is fitted in `learn` and predicts in `predict`, which receives features alone: no choice can depend on a label
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
from sensorium.evaluation.labels import Labeled, choose_column, count_records, is_missing, labeled, numeric_labels
from sensorium.evaluation.scaling import standardize_by_group


class Probe(Evaluator):
    """Probes the features of one modality for one label column."""

    def __init__(
        self,
        label: str | None,
        modality: str | None,
        protocol: str | Mapping[str, Any],
        standardize_by: str | None = None,
    ) -> None:
        self.label, self.modality, self.protocol, self.standardize_by = label, modality, protocol, standardize_by
        self.chosen: list[str] = []
        self.excluded: list[str] = []

    def part_of(self, table: FeatureTable) -> Labeled:
        """Return the records of a part with value and label, standardized within the groups of `standardize_by`."""
        part = labeled(table, self.label, self.modality)
        if self.standardize_by is not None:
            column = table.labels[choose_column("label", self.standardize_by, list(table.labels))][part.rows_N]
            part.groups = ["none" if is_missing(name) else f"{self.standardize_by} {name}" for name in column]
            part.x_ND = standardize_by_group(part.x_ND, part.groups)
        return part

    @abstractmethod
    def learn(self, x_ND: np.ndarray, y_N: np.ndarray, groups: list[str]) -> None:
        """Fit to the train part; notes on the chosen hyperparameters go to `chosen`."""

    @abstractmethod
    def predict(self, x_ND: np.ndarray) -> np.ndarray:
        """Return one prediction for each row."""

    def notes(self) -> list[str]:
        """Return the chosen hyperparameters and how many test records were excluded."""
        return self.chosen + self.excluded

    def note_excluded(self, count: int) -> None:
        """Note how many test records lack the modality or the label."""
        self.excluded = [f"{count_records(count)} without label or value excluded"] if count else []


class Classifier(Probe):
    """Predicts a class of the train part; a test record of any other class counts as an error."""

    def fit(self, train: FeatureTable) -> None:
        """Number the classes and fit."""
        part = self.part_of(train)
        self.classes = {value: number for number, value in enumerate(sorted(set(part.values), key=str))}
        if len(self.classes) < 2:
            raise SensoriumError(
                f"The label '{part.label}' has one class in the train part, {part.values[0]!r}: "
                "a classifier needs two or more."
            )
        y_N = np.array([self.classes[value] for value in part.values])
        self.majority = int(np.bincount(y_N).argmax())
        self.learn(part.x_ND, y_N, part.groups)

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return accuracy, balanced accuracy (mean recall over classes) and macro-F1."""
        x_ND, y_N = self._read(test)
        return _classification_metrics(y_N, self.predict(x_ND))

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of always predicting the majority class of the train part."""
        _, y_N = self._read(test)
        return _classification_metrics(y_N, np.full_like(y_N, self.majority))

    def _read(self, test: FeatureTable) -> tuple[np.ndarray, np.ndarray]:
        part = self.part_of(test)
        self.note_excluded(part.excluded)
        codes = dict(self.classes)
        y_N = np.array([codes.setdefault(value, len(codes)) for value in part.values])
        return part.x_ND, y_N


def _classification_metrics(y_N: np.ndarray, predicted_N: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": float(np.mean(y_N == predicted_N)),
        "balanced accuracy": float(recall_score(y_N, predicted_N, labels=np.unique(y_N), average="macro")),
        "macro-F1": float(f1_score(y_N, predicted_N, average="macro", zero_division=0)),
    }


class Regressor(Probe):
    """Predicts a numeric label."""

    def fit(self, train: FeatureTable) -> None:
        """Read the numbers and fit."""
        part = self.part_of(train)
        y_N = numeric_labels(part)
        self.mean = float(y_N.mean())
        self.learn(part.x_ND, y_N, part.groups)

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return root mean squared error, R² and Spearman's rank correlation coefficient."""
        x_ND, y_N = self._read(test)
        return _regression_metrics(y_N, self.predict(x_ND))

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of always predicting the mean of the train part."""
        _, y_N = self._read(test)
        return _regression_metrics(y_N, np.full_like(y_N, self.mean))

    def _read(self, test: FeatureTable) -> tuple[np.ndarray, np.ndarray]:
        part = self.part_of(test)
        self.note_excluded(part.excluded)
        return part.x_ND, numeric_labels(part)


def _regression_metrics(y_N: np.ndarray, predicted_N: np.ndarray) -> dict[str, float]:
    error, variance = np.mean((y_N - predicted_N) ** 2), np.var(y_N)
    if variance == 0:
        raise SensoriumError("All test records have the same numeric label: there is nothing to predict.")
    return {
        "RMSE ↓": float(np.sqrt(error)),
        "R2": float(1 - error / variance),
        "spearman": spearman(y_N, predicted_N),
    }


def spearman(a_N: np.ndarray, b_N: np.ndarray) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; 0 if one side is constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return float(np.nan_to_num(spearmanr(a_N, b_N).statistic))
