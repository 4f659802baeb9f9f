"""Cosine similarity and exact nearest neighbors, in bounded memory.

Everything here is in full fp32, whatever matmul precision the training has set.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

TIE = 1e-6
"""Cosines that differ by no more are ties: fp32 products of equal vectors may differ by rounding."""
MAX_SIMILARITIES, ON_GPU = 2**23, 16
"""How many similarities are in memory at once, 32 MB of fp32, and by what factor more on a GPU."""


def l2_normalize(x_ND: np.ndarray | Tensor, device: torch.device | str) -> Tensor:
    """Return L2-normalized rows on a device, fp32 (N, D); a row of zeros stays zero."""
    x_ND = torch.as_tensor(x_ND).to(device, torch.float32)
    largest_N1 = x_ND.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return F.normalize(x_ND / largest_N1, dim=1)  # divided first, so that squares cannot overflow


def query_blocks(queries: int, targets: int, device: torch.device) -> list[slice]:
    """Return blocks of queries whose similarities with all targets fit in memory."""
    most = MAX_SIMILARITIES * (1 if device.type == "cpu" else ON_GPU)
    rows = max(1, most // max(1, targets))
    return [slice(start, min(start + rows, queries)) for start in range(0, queries, rows)]


def similarity_blocks(x_QD: Tensor, y_ND: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Iterate over blocks of `x_QD @ y_ND.T`: the rows of x, and their similarities (rows, N)."""
    for block in query_blocks(len(x_QD), len(y_ND), x_QD.device):
        precision = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            s_BN = x_QD[block] @ y_ND.T
        finally:
            torch.set_float32_matmul_precision(precision)
        yield block, s_BN


def nearest_neighbors(
    x_QD: np.ndarray | Tensor, y_ND: np.ndarray | Tensor, k: int, device: torch.device | str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest rows of y for every row of x by cosine, nearest first.

    Args:
        x_QD: Q queries.
        y_ND: N targets.
        k: number of neighbors; all N if there are fewer.
        device: where they are compared.

    Returns:
        Cosines float32 (Q, k) and row indices int64 (Q, k).
    """
    x_QD, y_ND = l2_normalize(x_QD, device), l2_normalize(y_ND, device)
    k = min(k, len(y_ND))
    scores, rows = [], []
    for _, s_BN in similarity_blocks(x_QD, y_ND):
        top = s_BN.topk(k, dim=1)
        scores.append(top.values)
        rows.append(top.indices)
    if not scores:
        return np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)
    return torch.cat(scores).cpu().numpy(), torch.cat(rows).cpu().numpy()
