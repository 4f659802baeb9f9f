"""Searching a file of embeddings for the nearest of a query, batch by batch: it may be larger than memory."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sensorium.embeddings.file import EmbeddingFile
from sensorium.errors import RunError
from sensorium.neighbors.similarity import best_of, l2_normalize


def nearest_in(
    file: EmbeddingFile, modality: str, query_1D: Tensor, count: int, part: str = "all"
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the rows of a file that are nearest to a query by cosine, exactly.

    Args:
        file: the file.
        modality: the column that is searched.
        query_1D: the query.
        count: number of rows; all if there are fewer.
        part: "train", "val", "test" or "all".

    Returns:
        Rows int64 (K,), nearest first, cosines float32 (K,), and how many rows were searched.

    Raises:
        RunError: when no row has the modality, or its width is not that of the query.
    """
    scores_K, rows_K, searched = torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0
    for rows_M, x_MD in file.vectors(modality, part):
        if x_MD.shape[1] != query_1D.shape[1]:
            raise RunError(
                f"'{modality}' in '{file.path}' has {x_MD.shape[1]} numbers, the query {query_1D.shape[1]}: there is "
                "no joint space."
            )
        searched += len(rows_M)
        s_1K, at_1K = best_of(l2_normalize(query_1D, "cpu"), l2_normalize(x_MD, "cpu"), count)
        scores = torch.cat([scores_K, s_1K[0]])
        rows = torch.cat([rows_K, torch.from_numpy(rows_M)[at_1K[0]]])
        order = scores.argsort(descending=True, stable=True)[:count]
        scores_K, rows_K = scores[order], rows[order]
    if not searched:
        raise RunError(f"No record of the part '{part}' in '{file.path}' has '{modality}': there is nothing to search.")
    return rows_K.numpy(), scores_K.numpy(), searched
