"""Exact nearest-neighbor search that skips excluded pairs: by matrix products in torch, or by FAISS."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sensorium.errors import SensoriumError
from sensorium.neighbors.similarity import similarity_blocks

Search = Callable[[Tensor, Tensor, int, tuple[np.ndarray, np.ndarray]], tuple[np.ndarray, np.ndarray]]
"""`search(x_BD, y_ND, k, (rows, columns))` returns scores and columns (B, k) of the best pairs that are not excluded,
best first; the score is minus infinity where none is left."""


def make_search(y_ND: Tensor, index: str) -> Search:
    """Return the search by an index: "torch", "faiss", or "auto" for FAISS if it is installed and y is on the CPU."""
    if index not in ("auto", "torch", "faiss"):
        raise SensoriumError(f"The option 'index' of mining is 'auto', 'torch' or 'faiss', not '{index}'.")
    installed = find_spec("faiss") is not None
    if index == "faiss" and not installed:
        raise SensoriumError("The index 'faiss' needs FAISS: run pip install faiss-cpu, or use the index 'torch'.")
    if index == "torch" or not installed or (index == "auto" and y_ND.device.type != "cpu"):
        return _torch_search
    return _faiss_search(y_ND)


def _faiss_search(y_ND: Tensor) -> Search:
    """Return a search by a flat (exact) inner-product index of FAISS."""
    import faiss

    flat = faiss.IndexFlatIP(y_ND.shape[1])
    flat.add(y_ND.cpu().numpy())

    def search(x_BD: Tensor, y_ND: Tensor, k: int, excluded: tuple[np.ndarray, np.ndarray]) -> Any:
        rows, columns = excluded
        extra = int(np.bincount(rows, minlength=1).max()) if len(rows) else 0
        scores_BK, columns_BK = flat.search(x_BD.cpu().numpy(), min(k + extra, len(y_ND)))
        pairs_BK = np.arange(len(x_BD))[:, None] * len(y_ND) + columns_BK
        scores_BK[np.isin(pairs_BK, rows * len(y_ND) + columns)] = -np.inf
        order_BK = np.argsort(-scores_BK, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores_BK, order_BK, 1), np.take_along_axis(columns_BK, order_BK, 1)

    return search


def _torch_search(
    x_BD: Tensor, y_ND: Tensor, k: int, excluded: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Search by matrix products; x and y are small enough for one block."""
    ((_, s_BN),) = similarity_blocks(x_BD, y_ND)
    rows, columns = (torch.from_numpy(indices).to(s_BN.device) for indices in excluded)
    s_BN[rows, columns] = -torch.inf
    best = s_BN.topk(min(k, s_BN.shape[1]), dim=1)
    return best.values.cpu().numpy(), best.indices.cpu().numpy()
