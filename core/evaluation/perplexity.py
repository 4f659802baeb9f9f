"""How surprised a model of tokens is by held-out records."""

from __future__ import annotations

import math

import numpy as np

from sensorium.contracts import Evaluator, FeatureTable
from sensorium.errors import SensoriumError
from sensorium.evaluation.labels import choose, is_missing


class Perplexity(Evaluator):
    """Perplexity of the test part under a model that predicts tokens; every token counts alike.

    Args:
        per: a label that counts what bits are shared out over, such as "characters"; None leaves that figure out.
    """

    space = "scores"

    def __init__(self, per: str | None = None) -> None:
        self.per = per

    def fit(self, train: FeatureTable) -> None:
        """Learn nothing."""

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return nats per token, perplexity, and bits per unit of the label."""
        return self._metrics(test, "nats")

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the figures of guessing every class alike."""
        return self._metrics(test, "uniform")

    def _metrics(self, test: FeatureTable, column: str) -> dict[str, float]:
        if not {column, "tokens"} <= test.features.keys():
            raise SensoriumError(
                "'perplexity' needs what records cost under a model; these are features of another kind."
            )
        nats, tokens = (float(test.features[name].astype(np.float64).sum()) for name in (column, "tokens"))
        if not tokens:
            raise SensoriumError("The test part has no token to predict: its records hold one token each, or none.")
        metrics = {"nats per token ↓": nats / tokens, "perplexity ↓": math.exp(min(nats / tokens, 700.0))}
        if self.per is not None:
            counts = test.labels[choose("label", self.per, list(test.labels))].tolist()
            if any(is_missing(count) for count in counts):
                raise SensoriumError(f"Some records of the test part lack the label '{self.per}', which bits are per.")
            metrics[f"bits per {self.per.removesuffix('s')} ↓"] = nats / math.log(2) / sum(counts)
        return metrics
