"""Nearest-neighbor search that skips excluded pairs."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sensorium.neighbors.search import ExactIndex, NeighborIndex

CROWDED = 4096
"""Excluded pairs of a query beyond which an approximate index looks for no more neighbors in their place."""


def search_others(
    index: NeighborIndex, x_BD: Tensor, k: int, excluded: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best pairs of some queries that are not excluded.

    Args:
        index: the targets.
        x_BD: the queries.
        k: largest number of pairs of a query.
        excluded: excluded pairs, the query of each, int64 (P,), and its target, int64 (P,).

    Returns:
        Cosines float32 (B, k) and targets int64 (B, k), best first; the cosine is minus infinity where none is left.
    """
    rows, columns = excluded
    most, count = int(np.bincount(rows, minlength=1).max()) if len(rows) else 0, len(index.y_ND)
    if not isinstance(index, ExactIndex):
        most = min(most, CROWDED)
    scores_BK, columns_BK = index.search(x_BD, min(k + most, count))
    pairs_BK = np.arange(len(x_BD))[:, None] * count + columns_BK
    scores_BK[np.isin(pairs_BK, rows * count + columns)] = -np.inf
    order_BK = np.argsort(-scores_BK, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores_BK, order_BK, 1), np.take_along_axis(columns_BK, order_BK, 1)
