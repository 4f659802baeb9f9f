"""k-means of many records by scikit-learn: of some all at once, of more in mini-batches."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from torch import Tensor

from sensorium.neighbors.similarity import best_of, l2_normalize

WORK = 5e8
"""Multiplications of one pass up to which all records are in every pass; beyond, k-means learns from mini-batches."""
BATCH = 4096
"""Records of a mini-batch, at least; more where there are more clusters."""
STARTS = 3
"""First centres that are tried; the best stay."""


def k_means(x_MD: Tensor, count: int, seed: int) -> tuple[Tensor, np.ndarray]:
    """Return the centres of K clusters and the cluster of each of M records, the largest cluster first.

    Args:
        x_MD: L2-normalized float32 vectors.
        count: of clusters; K is less where some would be empty.
        seed: of the first centres and of the mini-batches.

    Returns:
        Normalized centres (K, D), and int64 (M,), the centre of the largest cosine.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    count = min(count, len(x_MD))
    common: dict[str, Any] = {"n_clusters": count, "n_init": STARTS, "random_state": seed % 2**32}
    if float(len(x_MD)) * count * x_MD.shape[1] <= WORK:
        found = KMeans(**common)
    else:
        found = MiniBatchKMeans(**common, batch_size=max(BATCH, 3 * count))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different records than clusters: K is less
        found.fit(x_MD.cpu().numpy())
    centres_KD = l2_normalize(found.cluster_centers_, x_MD.device)
    of_M = best_of(x_MD, centres_KD, 1)[1][:, 0].cpu().numpy()
    sizes_K = np.bincount(of_M, minlength=count)
    order = np.argsort(-sizes_K, kind="stable")[: int((sizes_K > 0).sum())]
    number_K = np.full(count, -1)
    number_K[order] = np.arange(len(order))
    return centres_KD[order.tolist()], number_K[of_M]
