"""How far apart two modalities lie in the space that they share."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from sklearn.linear_model import LogisticRegression

from sensorium.contracts import Evaluator, FeatureTable
from sensorium.errors import SensoriumError
from sensorium.evaluation.labels import pair
from sensorium.evaluation.similarity import unit_rows
from sensorium.seeding import seed_of


class ModalityGap(Evaluator):
    """The gap between modalities in the joint space (Liang et al. 2022), for every two of one width.

    * gap: distance of the two means of normalized embeddings, 0 to 2 (Liang et al. 2022, section 2).
    * separability: how often a linear classifier, fitted on the train part, tells from an embedding of the test part
      which modality it is of; .5 for modalities that mix, 1 for those that lie apart.

    A gap is no fault by itself: retrieval of one modality does not feel it, a search over several at once does.

    Args:
        sample: most embeddings of each modality that the classifier is fitted on, drawn by the seed.
    """

    space = "embedding"

    def __init__(self, sample: int = 5_000) -> None:
        self.sample = sample

    def fit(self, train: FeatureTable) -> None:
        """Fit a classifier for every two modalities."""
        self.classifiers: dict[tuple[str, str], LogisticRegression] = {}
        for first, second in _pairs(train):
            x_ND, y_N = self._labeled(train, first, second, self.sample)
            if len(np.unique(y_N)) == 2:
                self.classifiers[first, second] = LogisticRegression(C=100.0, max_iter=1000).fit(x_ND, y_N)

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return gap and separability of every two modalities, such as "image-text gap ↓"."""
        metrics: dict[str, float] = {}
        for first, second in _pairs(test):
            x_ND, y_N = self._labeled(test, first, second)
            if len(np.unique(y_N)) < 2:
                continue
            means = x_ND[y_N == 0].mean(0) - x_ND[y_N == 1].mean(0)
            metrics[f"{first}-{second} gap ↓"] = float(np.linalg.norm(means))
            if (classifier := self.classifiers.get((first, second))) is not None:
                right_N = classifier.predict(x_ND) == y_N
                # Both modalities weigh alike, however many records have each.
                share = float(np.mean([right_N[y_N == side].mean() for side in (0, 1)]))
                metrics[f"{first}-{second} separability ↓"] = share
        if not metrics:
            raise SensoriumError("The modality gap is measured on records of two modalities; the test part has one.")
        return metrics

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return the separability of modalities that mix; a gap has no chance."""
        return {f"{first}-{second} separability ↓": 0.5 for first, second in self.classifiers}

    def _labeled(
        self, table: FeatureTable, first: str, second: str, most: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return normalized embeddings of both modalities, and 0 or 1 for which one each is of."""
        parts = []
        for name in (first, second):
            x_ND = unit_rows(table.features[name][table.present[name]]).cpu().numpy()
            if most is not None and len(x_ND) > most:
                draw = np.random.default_rng(seed_of("modality-gap", self.seed, name))
                x_ND = x_ND[draw.permutation(len(x_ND))[:most]]
            parts.append(x_ND)
        return np.concatenate(parts), np.repeat([0, 1], [len(part) for part in parts])


def _pairs(table: FeatureTable) -> list[tuple[str, str]]:
    """Return every two modalities that share a space.

    Raises:
        SensoriumError: when there is but one modality, or no two share a space.
    """
    widths = {name: x_ND.shape[1] for name, x_ND in table.features.items() if table.present[name].any()}
    found = [(a, b) for a, b in combinations(widths, 2) if widths[a] == widths[b]]
    if not found:
        pair(table, None, None)  # says what is wrong
    return found
