"""Semantic similarity of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from sensorium.contracts import Evaluator
from sensorium.errors import SensoriumError
from sensorium.evaluation.labels import choose_column, count_records, is_missing, modality_pair, not_numeric
from sensorium.evaluation.probes import spearman
from sensorium.feature_table import FeatureTable
from sensorium.neighbors.similarity import l2_normalize


class Pairs(Evaluator):
    """Spearman correlation of the cosine similarity of pairs with a numeric label.

    The metric of semantic textual similarity (STS-B), over all pairs of the test part; ties have their mean rank, and
    equal cosines give 0.

    Args:
        label: numeric label column; None takes the only one.
        first: modality of one side; None takes the first of the recipe.
        second: modality of the other side; None takes the second of the recipe.
        space: features (of the encoders) or embedding (of the objective).
    """

    def __init__(
        self,
        label: str | None = None,
        first: str | None = None,
        second: str | None = None,
        space: Literal["features", "embedding"] = "features",
    ) -> None:
        self.label, self.first, self.second, self.space = label, first, second, space
        self.excluded = 0
        self.metric = "spearman"
        self.predicted: dict[str, np.ndarray] = {}

    def fit(self, train: FeatureTable) -> None:
        """Learn nothing."""

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return the rank correlation."""
        first, second = modality_pair(test, self.first, self.second)
        label = choose_column("label", self.label, list(test.labels))
        values = test.labels[label].tolist()
        rows = np.flatnonzero(
            test.present[first] & test.present[second] & np.array([not is_missing(v) for v in values], bool)
        )
        self.excluded = len(test) - len(rows)
        if len(rows) < 2:
            raise SensoriumError(
                f"{count_records(len(rows)).capitalize()} with '{first}', '{second}' and the label '{label}': "
                "a rank correlation needs two or more."
            )
        labels_N = [values[row] for row in rows]
        if (word := not_numeric(labels_N)) is not None:
            raise SensoriumError(
                f"The label '{label}' has the value {word!r}, which is not a number: 'pairs' needs a numeric label."
            )
        a_ND, b_ND = (l2_normalize(test.features[name][rows], self.device) for name in (first, second))
        self.metric = f"{first}-{second} spearman"
        self.predicted = {
            "id": np.array(test.ids, object)[rows],
            "label": np.array(labels_N, np.float64),
            "prediction": (a_ND * b_ND).sum(1).cpu().numpy(),
        }
        return self.metrics_of(self.predicted)

    def metrics_of(self, predictions: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the same metric of any predictions, which are cosines."""
        return {self.metric: spearman(predictions["prediction"], predictions["label"])}

    def predictions(self) -> Mapping[str, np.ndarray]:
        """Return the cosines of the last measurement."""
        return self.predicted

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the expected correlation of a random ranking."""
        first, second = modality_pair(test, self.first, self.second)
        return {f"{first}-{second} spearman": 0.0}

    def notes(self) -> list[str]:
        """Return how many pairs were excluded."""
        return [f"{count_records(self.excluded)} without label or one of the sides excluded"] if self.excluded else []
