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
TILED = 2**18
"""Targets that a query is compared with at once where only the best of them are wanted."""


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
    scores_QK, rows_QK = best_of(l2_normalize(x_QD, device), l2_normalize(y_ND, device), k)
    return scores_QK.cpu().numpy(), rows_QK.cpu().numpy()


def best_of(x_QD: Tensor, y_ND: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest products of every row of x with the rows of y, largest first.

    Args:
        x_QD: Q queries.
        y_ND: N targets; many of them are compared tile by tile, so that many queries share the reading of each.
        k: number of products; all N if there are fewer.

    Returns:
        Products (Q, k) and row indices int64 (Q, k).
    """
    k = min(k, len(y_ND))
    scores, rows = [x_QD.new_zeros(0, k)], [torch.zeros(0, k, dtype=torch.int64, device=x_QD.device)]
    for block in query_blocks(len(x_QD), min(len(y_ND), TILED), x_QD.device):
        best = _best_in(x_QD[block], y_ND[:TILED], k)
        for start in range(TILED, len(y_ND), TILED):
            s_BK, rows_BK = _best_in(x_QD[block], y_ND[start : start + TILED], k)
            both = torch.cat([best[0], s_BK], 1), torch.cat([best[1], rows_BK + start], 1)
            top = both[0].topk(min(k, both[0].shape[1]), dim=1)
            best = top.values, both[1].gather(1, top.indices)
        scores.append(best[0])
        rows.append(best[1])
    return torch.cat(scores), torch.cat(rows)


def _best_in(x_BD: Tensor, y_MD: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest products with M targets, or all M."""
    ((_, s_BM),) = similarity_blocks(x_BD, y_MD)
    top = s_BM.topk(min(k, len(y_MD)), dim=1)
    return top.values, top.indices
