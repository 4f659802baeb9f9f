"""Evaluators that decide by the labels of the train part whether they classify or regress."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from sensorium.contracts import Evaluator
from sensorium.evaluation.labels import is_continuous
from sensorium.evaluation.probes import Probe
from sensorium.feature_table import FeatureTable


class DelegatedProbe(Evaluator):
    """Measures by a probe of classes or of numbers, which `fit` makes."""

    probe: Probe
    task: Literal["auto", "classification", "regression"]

    def is_regression(self, values: Iterable[Any]) -> bool:
        """Return whether labels are numbers to regress: as `task` says, or where one of them has a fraction."""
        return is_continuous(values) if self.task == "auto" else self.task == "regression"

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of the chosen probe."""
        return self.probe.measure(test)

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return those of a constant prediction."""
        return self.probe.chance(test)

    def notes(self) -> list[str]:
        """Return what was chosen, and how many records were excluded."""
        return self.probe.notes()

    def predictions(self) -> Mapping[str, np.ndarray]:
        """Return the predictions of the last measurement."""
        return self.probe.predictions()

    def metrics_of(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the metrics of any predictions."""
        return self.probe.metrics_of(predictions)

    def metrics_by_class(self, predictions: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
        """Return the metrics of each class."""
        return self.probe.metrics_by_class(predictions)

    def remarks(self, predictions: Mapping[str, np.ndarray]) -> list[str]:
        """Return sentences on the measured records."""
        return self.probe.remarks(predictions)
