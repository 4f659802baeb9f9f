"""Representation collapse: effective rank, standard deviation, uniformity, alignment."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import numpy as np
import torch

from sensorium import losses
from sensorium.contracts import Evaluator
from sensorium.errors import SensoriumError
from sensorium.feature_table import FeatureTable
from sensorium.neighbors.similarity import l2_normalize, similarity_blocks
from sensorium.seeding import seed_of


class Health(Evaluator):
    """Effective rank, standard deviation, alignment and uniformity of the features of the test part; needs no labels.

    * RankMe: exp of the entropy of the normalized singular values (Garrido et al. 2023), 1 (collapsed) to D.
    * std: mean standard deviation of normalized features times sqrt(D), 0 (collapsed) to 1 (Chen and He 2021).
    * uniformity: log mean exp(-2 d²) over pairs of records, lower is better; alignment: mean d² between the modalities
      of one record, for every pair of one width (Wang and Isola 2020). Both on normalized features.

    Args:
        space: features (of the encoders) or embedding (of the objective).
        max_records: largest number of records whose pairs uniformity is computed on, sampled by the seed.
    """

    def __init__(self, space: Literal["features", "embedding"] = "features", max_records: int = 10_000) -> None:
        self.space, self.max_records = space, max_records

    def fit(self, train: FeatureTable) -> None:
        """Learn nothing."""

    def measure(self, test: FeatureTable) -> dict[str, float]:
        """Return the metrics of every modality, such as "image RankMe"."""
        metrics: dict[str, float] = {}
        for name, mask_N in test.present.items():
            if mask_N.sum() >= 2:
                metrics |= {f"{name} {k}": v for k, v in self._single(test.features[name][mask_N]).items()}
        if not metrics:
            raise SensoriumError("The evaluator 'health' needs two test records or more.")
        for first, second in combinations(test.features, 2):
            both_N = test.present[first] & test.present[second]
            x_ND, y_ND = test.features[first][both_N], test.features[second][both_N]
            if len(x_ND) and x_ND.shape[1] == y_ND.shape[1]:
                distance_N = (l2_normalize(x_ND, self.device) - l2_normalize(y_ND, self.device)).square().sum(1)
                metrics[f"{first}-{second} alignment ↓"] = float(distance_N.mean())
        return metrics

    def chance(self, test: FeatureTable) -> dict[str, float]:
        """Return nothing: these metrics have no chance level."""
        return {}

    def _single(self, x_ND: np.ndarray) -> dict[str, float]:
        unit_ND = l2_normalize(x_ND, self.device)
        return {
            "RankMe": float(losses.effective_rank(torch.as_tensor(x_ND).to(self.device))),
            "std": float(losses.normalized_std(unit_ND)),
            "uniformity ↓": self._uniformity(unit_ND),
        }

    def _uniformity(self, unit_ND: torch.Tensor) -> float:
        if len(unit_ND) > self.max_records:
            rows = np.random.default_rng(seed_of("health", self.seed)).permutation(len(unit_ND))[: self.max_records]
            unit_ND = unit_ND[torch.from_numpy(rows).to(unit_ND.device)]
        total, n = unit_ND.new_zeros((), dtype=torch.float64), len(unit_ND)
        for block, s_BN in similarity_blocks(unit_ND, unit_ND):
            potential_BN = (4 * (s_BN - 1)).exp_()  # d² = 2 - 2 cos
            potential_BN[:, block].fill_diagonal_(0)
            total += potential_BN.double().sum()
        return float(np.log(float(total) / (n * (n - 1))))
