"""The nearest other records of every record, in blocks, so that memory is bounded."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sensorium.neighbors.index import make_index
from sensorium.neighbors.search import IndexOptions


def nearest_others(x_MD: Tensor, k: int, options: IndexOptions) -> tuple[np.ndarray, np.ndarray, str]:
    """Return the nearest other vectors of every vector.

    Args:
        x_MD: L2-normalized float32 vectors, M >= 2.
        k: how many, >= 1; all others if there are fewer.
        options: how they are searched: exactly for few, by an approximate index for many.

    Returns:
        Cosines float32 (M, k), nearest first, minus infinity where an approximate index finds no more; rows int64
        (M, k); and what searched, in a clause.
    """
    k = min(k, len(x_MD) - 1)
    index = make_index(x_MD, x_MD, k + 1, options)
    scores_MK, rows_MK = np.empty((len(x_MD), k), np.float32), np.empty((len(x_MD), k), np.int64)
    for block in index.blocks(len(x_MD)):
        scores_BK, rows_BK = index.search(x_MD[block], k + 1)
        own_BK = rows_BK == np.arange(block.start, block.stop)[:, None]
        own_BK[~own_BK.any(axis=1), -1] = True  # equal vectors may crowd a record out of its own neighbors
        kept = np.argsort(own_BK, axis=1, kind="stable")[:, :k]
        scores_MK[block] = np.take_along_axis(scores_BK, kept, 1)
        rows_MK[block] = np.take_along_axis(rows_BK, kept, 1)
    return scores_MK, rows_MK, index.description
