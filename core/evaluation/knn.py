"""k-nearest-neighbor classification (kNN)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from sensorium.errors import check_range
from sensorium.evaluation.probes import Classifier
from sensorium.neighbors.index import make_index
from sensorium.neighbors.search import ExactIndex, IndexOptions
from sensorium.neighbors.similarity import l2_normalize


class KNN(Classifier):
    """Weighted k-nearest-neighbor classification, each vote weighted by exp(cosine / temperature).

    The kNN classifier of instance discrimination (Wu et al. 2018), as in DINO and lightly.

    Args:
        label: label column to predict; None takes the only one.
        modality: modality whose features are measured; None takes the only one.
        protocol: evaluation protocol: given, or a mapping such as {name: kfold, folds: 10}.
        k: number of neighbors that vote, >= 1; all training records if there are fewer.
        temperature: temperature of the vote's weights, > 0; 0.07 as in Wu et al. 2018.
        index: "exact", or an approximate index of FAISS for millions of records, "ivf" or "hnsw", whose recall the
            table says; "auto" is exact for up to 200,000 records of the train part, or where that takes minutes.
    """

    def __init__(
        self,
        label: str | None = None,
        modality: str | None = None,
        protocol: str | dict[str, Any] = "given",
        k: int = 20,
        temperature: float = 0.07,
        index: Literal["auto", "exact", "ivf", "hnsw"] = "auto",
    ) -> None:
        check_range("evaluator 'knn'", "[1, inf)", k=k)
        check_range("evaluator 'knn'", "(0, inf)", temperature=temperature)
        super().__init__(label, modality, protocol)
        self.k, self.temperature, self.index = k, temperature, IndexOptions(index)

    def learn(self, x_ND, y_N, groups):
        """Store the training records."""
        self.x_ND, self.y_N = x_ND, y_N
        if len(x_ND) < self.k:
            self.chosen = [f"only {len(x_ND)} training records, fewer than k = {self.k}"]

    def scores(self, x_ND):
        """Return the sum of the weights of each class, in units of the nearest neighbor's."""
        x_QD, y_ND = (l2_normalize(x, self.device) for x in (x_ND, self.x_ND))
        index = make_index(y_ND, x_QD, self.k, self.index)
        about = f"approximate neighbors: {index.description}"
        if not isinstance(index, ExactIndex) and about not in self.chosen:
            self.chosen.append(about)
        cosine_BK, rows_BK = index.search(x_QD, self.k)
        weight_BK = np.exp((cosine_BK - cosine_BK[:, :1]) / self.temperature)  # the nearest has weight 1
        classes = len(self.classes)
        cells_BK = np.arange(len(x_ND))[:, None] * classes + self.y_N[rows_BK]
        votes = np.bincount(cells_BK.ravel(), weight_BK.ravel(), minlength=len(x_ND) * classes)
        return votes.reshape(len(x_ND), classes)
