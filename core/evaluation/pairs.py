"""Similarity of pairs."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sensorium.contracts import Evaluator, FeatureTable
from sensorium.errors import SensoriumError
from sensorium.evaluation.labels import choose, is_missing, pair, records
from sensorium.evaluation.probes import spearman
from sensorium.evaluation.similarity import unit_rows


class Pairs(Evaluator):
    """Rank pairs by the cosine of their two sides, against a numeric label.

    The measure of semantic textual similarity (STS-B): Spearman's correlation over all pairs of the test part, ties
    at their mean rank; 0 where all cosines are equal.

    Args:
        label: numeric label column; None takes the only one.
        first: modality of one side; None takes the first of the recipe.
        second: modality of the other side; None takes the second of the recipe.
        space: features (of the encoders) or embedding (where the objective compares).
    """

    def __init__(
        self,
        label: str | None = None,
        first: str | None = None,
        second: str | None = None,
        space: Literal["features", "embedding"] = "features",
    ) -> None:
        self.label, self.first, self.second, self.space = label, first, second, space
        self.left_out = 0

    def fit(self, train: FeatureTable) -> None:
        """Learn nothing."""

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return the rank correlation."""
        first, second = pair(test, self.first, self.second)
        label = choose("label", self.label, list(test.labels))
        values = test.labels[label].tolist()
        rows = np.flatnonzero(
            test.present[first] & test.present[second] & np.array([not is_missing(v) for v in values], bool)
        )
        self.left_out = len(test) - len(rows)
        if len(rows) < 2:
            raise SensoriumError(
                f"{records(len(rows)).capitalize()} with '{first}', '{second}' and the label '{label}': "
                "a ranking needs two at least."
            )
        wanted_N = [values[row] for row in rows]
        if word := next((v for v in wanted_N if not isinstance(v, (int, float))), None):
            raise SensoriumError(f"The label '{label}' holds {word!r}, which is no number: pairs are ranked by one.")
        a_ND, b_ND = unit_rows(test.features[first][rows]), unit_rows(test.features[second][rows])
        cosine_N = (a_ND * b_ND).sum(1).cpu().numpy()
        return {f"{first}-{second} spearman": spearman(cosine_N, np.array(wanted_N, np.float64))}

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the expectation of a random ranking."""
        first, second = pair(test, self.first, self.second)
        return {f"{first}-{second} spearman": 0.0}

    def notes(self) -> list[str]:
        """Return how many pairs could not be measured."""
        return [f"{records(self.left_out)} without label or one of the sides left out"] if self.left_out else []
