"""Modality gap in the joint embedding space."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from sensorium.contracts import Evaluator
from sensorium.errors import SensoriumError
from sensorium.evaluation.labels import modality_pair
from sensorium.evaluation.logistic import LogisticRegression
from sensorium.feature_table import FeatureTable
from sensorium.neighbors.similarity import l2_normalize
from sensorium.seeding import seed_of


class ModalityGap(Evaluator):
    """Modality gap in the joint embedding space (Liang et al. 2022), for every pair of modalities.

    * gap: Euclidean distance of the mean normalized embeddings, 0 to 2 (Liang et al. 2022, section 2).
    * separability: balanced accuracy of a linear classifier of the modality, fitted on the train part and measured on
      the test part; 0.5 where the modalities overlap, 1 where they are separated.

    A gap is not harmful by itself: it does not affect retrieval of one modality, but retrieval over several at once.

    Args:
        max_records: largest number of embeddings of each modality to fit the classifier on, sampled by the seed.
    """

    space = "embedding"

    def __init__(self, max_records: int = 5_000) -> None:
        self.max_records = max_records

    def fit(self, train: FeatureTable) -> None:
        """Fit a classifier for every pair of modalities."""
        self.classifiers: dict[tuple[str, str], LogisticRegression] = {}
        for first, second in _pairs(train):
            x_ND, y_N = self._labeled(train, first, second, self.max_records)
            if len(np.unique(y_N)) == 2:
                self.classifiers[first, second] = LogisticRegression(100.0, 1000, self.device).fit(x_ND, y_N)

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return gap and separability of every pair of modalities, such as "image-text gap ↓"."""
        metrics: dict[str, float] = {}
        for first, second in _pairs(test):
            x_ND, y_N = self._labeled(test, first, second)
            if len(np.unique(y_N)) < 2:
                continue
            means = x_ND[y_N == 0].mean(0) - x_ND[y_N == 1].mean(0)
            metrics[f"{first}-{second} gap ↓"] = float(np.linalg.norm(means))
            if (classifier := self.classifiers.get((first, second))) is not None:
                correct_N = classifier.predict(x_ND) == y_N
                balanced = float(np.mean([correct_N[y_N == side].mean() for side in (0, 1)]))
                metrics[f"{first}-{second} separability ↓"] = balanced
        if not metrics:
            raise SensoriumError("The modality gap needs records of two modalities, but the test part has one.")
        return metrics

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the separability of overlapping modalities; the gap has no chance level."""
        return {f"{first}-{second} separability ↓": 0.5 for first, second in self.classifiers}

    def _labeled(
        self, table: FeatureTable, first: str, second: str, most: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return normalized embeddings of both modalities, and the modality of each, 0 or 1."""
        parts = []
        for name in (first, second):
            x_ND = l2_normalize(table.features[name][table.present[name]], self.device).cpu().numpy()
            if most is not None and len(x_ND) > most:
                draw = np.random.default_rng(seed_of("modality-gap", self.seed, name))
                x_ND = x_ND[draw.permutation(len(x_ND))[:most]]
            parts.append(x_ND)
        return np.concatenate(parts), np.repeat([0, 1], [len(part) for part in parts])


def _pairs(table: FeatureTable) -> list[tuple[str, str]]:
    """Return every pair of modalities with embeddings of one width.

    Raises:
        SensoriumError: when there is no such pair.
    """
    widths = {name: x_ND.shape[1] for name, x_ND in table.features.items() if table.present[name].any()}
    pairs = [(a, b) for a, b in combinations(widths, 2) if widths[a] == widths[b]]
    if not pairs:
        modality_pair(table, None, None)  # raises the error that explains it
    return pairs
