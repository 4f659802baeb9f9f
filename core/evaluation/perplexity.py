"""Perplexity of held-out records."""

from __future__ import annotations

import math

import numpy as np

from sensorium.contracts import Evaluator
from sensorium.errors import SensoriumError
from sensorium.evaluation.labels import choose_column, is_missing
from sensorium.feature_table import FeatureTable


class Perplexity(Evaluator):
    """Perplexity of the test part under a model that predicts tokens, averaged over tokens.

    Args:
        unit: label column with the number of units of each record, such as "characters", to report bits per unit; None
            does not report it.
    """

    space = "scores"

    def __init__(self, unit: str | None = None) -> None:
        self.unit = unit

    def fit(self, train: FeatureTable) -> None:
        """Learn nothing."""

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return nats per token, perplexity, and bits per unit of the label."""
        return self._metrics(test, "nats")

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of a uniform distribution over the classes."""
        return self._metrics(test, "uniform")

    def _metrics(self, test: FeatureTable, column: str) -> dict[str, float]:
        if not {column, "tokens"} <= test.features.keys():
            raise SensoriumError(
                "'perplexity' needs the likelihood of records under the model, but these are features of another kind."
            )
        nats, tokens = (float(test.features[name].astype(np.float64).sum()) for name in (column, "tokens"))
        if not tokens:
            raise SensoriumError("The test part has no token to predict: its records have one token each, or none.")
        metrics = {"nats per token ↓": nats / tokens, "perplexity ↓": math.exp(min(nats / tokens, 700.0))}
        if self.unit is not None:
            counts = test.labels[choose_column("label", self.unit, list(test.labels))].tolist()
            if any(is_missing(count) for count in counts):
                raise SensoriumError(f"Some records of the test part lack the label '{self.unit}': bits are per unit.")
            metrics[f"bits per {self.unit.removesuffix('s')} ↓"] = nats / math.log(2) / sum(counts)
        return metrics
