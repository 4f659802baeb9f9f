"""Whether features use their space."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import numpy as np
import torch

from sensorium import losses
from sensorium.contracts import Evaluator, FeatureTable
from sensorium.errors import SensoriumError
from sensorium.evaluation.similarity import similarities, unit_rows
from sensorium.seeding import seed_of


class Health(Evaluator):
    """Effective rank, standard deviation, alignment and uniformity of the test part's features; needs no labels.

    * rankme: exp of the entropy of the singular values' shares (Garrido et al. 2023), from 1 (collapsed) to D.
    * std: mean deviation of normalized features times sqrt(D), from 0 (collapsed) to 1 (Chen and He 2021).
    * uniformity: log mean exp(-2 d²) over pairs of records, lower is better; alignment: mean d² of the two sides of
      one record, for every two modalities of one width (Wang and Isola 2020). Both on normalized features.

    Args:
        space: features (of the encoders) or embedding (where the objective compares).
        sample: most records whose pairs uniformity looks at, drawn by the seed.
    """

    def __init__(self, space: Literal["features", "embedding"] = "features", sample: int = 10_000) -> None:
        self.space, self.sample = space, sample

    def fit(self, train: FeatureTable) -> None:
        """Learn nothing."""

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return the figures of every modality, such as "image rankme"."""
        metrics: dict[str, float] = {}
        for name, mask_N in test.present.items():
            if mask_N.sum() >= 2:
                metrics |= {f"{name} {k}": v for k, v in self._single(test.features[name][mask_N]).items()}
        if not metrics:
            raise SensoriumError("The health of features is measured on two test records at least.")
        for first, second in combinations(test.features, 2):
            both_N = test.present[first] & test.present[second]
            x_ND, y_ND = test.features[first][both_N], test.features[second][both_N]
            if len(x_ND) and x_ND.shape[1] == y_ND.shape[1]:
                distance_N = (unit_rows(x_ND) - unit_rows(y_ND)).square().sum(1)
                metrics[f"{first}-{second} alignment ↓"] = float(distance_N.mean())
        return metrics

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return nothing: guessing has no features."""
        return {}

    def _single(self, x_ND: np.ndarray) -> dict[str, float]:
        unit_ND = unit_rows(x_ND)
        return {
            "rankme": float(losses.effective_rank(torch.as_tensor(x_ND))),
            "std": float(losses.normalized_std(unit_ND)),
            "uniformity ↓": self._uniformity(unit_ND),
        }

    def _uniformity(self, unit_ND: torch.Tensor) -> float:
        if len(unit_ND) > self.sample:
            rows = np.random.default_rng(seed_of("health", self.seed)).permutation(len(unit_ND))[: self.sample]
            unit_ND = unit_ND[torch.from_numpy(rows).to(unit_ND.device)]
        total, n = 0.0, len(unit_ND)
        for block, s_BN in similarities(unit_ND, unit_ND):
            potential_BN = (4 * (s_BN - 1)).exp_()  # d² = 2 - 2 cos
            potential_BN[:, block].fill_diagonal_(0)
            total += float(potential_BN.double().sum())
        return float(np.log(total / (n * (n - 1))))
