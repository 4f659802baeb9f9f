"""Cosine similarity, exact and in bounded memory.

Everything here runs on the GPU when there is one, in full fp32 whatever precision training asked of products.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TIE = 1e-6
"""Cosines that differ by no more are ties: fp32 products of equal vectors may differ in their last bits."""
HELD = 2**23
"""How many similarities are held at once: 32 MB of fp32."""


def unit_rows(x_ND: np.ndarray | Tensor) -> Tensor:
    """Return rows of length one, fp32 (N, D); a row of zeros stays one, similar to nothing."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x_ND = torch.as_tensor(x_ND).to(device, torch.float32)
    largest_N1 = x_ND.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return F.normalize(x_ND / largest_N1, dim=1)  # divided first, so that squares cannot overflow


def similarities(x_QD: Tensor, y_ND: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Iterate over blocks of `x_QD @ y_ND.T`: which rows of x, and their similarities (rows, N)."""
    rows = max(1, HELD // max(1, len(y_ND)))
    for start in range(0, len(x_QD), rows):
        block = slice(start, min(start + rows, len(x_QD)))
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            s_BN = x_QD[block] @ y_ND.T
        finally:
            torch.set_float32_matmul_precision(precision)
        yield block, s_BN


def nearest_neighbors(x_QD: np.ndarray | Tensor, y_ND: np.ndarray | Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the k most similar rows of y for every row of x, best first.

    Args:
        x_QD: Q queries.
        y_ND: N targets.
        k: how many to find; all N when there are fewer.

    Returns:
        Cosines float32 (Q, k) and row numbers int64 (Q, k).
    """
    x_QD, y_ND = unit_rows(x_QD), unit_rows(y_ND)
    k = min(k, len(y_ND))
    scores, rows = [], []
    for _, s_BN in similarities(x_QD, y_ND):
        top = s_BN.topk(k, dim=1)
        scores.append(top.values.cpu())
        rows.append(top.indices.cpu())
    if not scores:
        return np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)
    return torch.cat(scores).numpy(), torch.cat(rows).numpy()
