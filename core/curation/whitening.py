"""Vectors whose cosines mean much the same for every encoder: partly whitened. Letters: M vectors of D numbers."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor

from sensorium.neighbors.similarity import l2_normalize

SHARE = 0.1
"""Of the principal directions, which are scaled down."""
PIECE = 2**16
"""Vectors whose products are summed at once."""


def partly_whitened(x_MD: Tensor, among: np.ndarray | None = None) -> Tensor:
    """Return centred vectors, the strongest tenth of their principal directions scaled down to the next: (M, D).

    A few directions, such as loudness, the color of a background, or which cluster a record is in, make up most of the
    cosine of two records, so that strangers seem alike. Scaled down to the deviation of the last of the tenth they
    leave it to the details, in which copies agree and others do not. Whitening all directions would let noise decide.

    Args:
        x_MD: float32 vectors, M >= 2.
        among: rows, int64 (m,), m >= 2, whose mean and directions are taken; None for all.

    Returns:
        L2-normalized, float32, on the same device.
    """
    of_mD = x_MD if among is None else x_MD[torch.from_numpy(among).to(x_MD.device)]
    mean_D, width = of_mD.mean(dim=0), x_MD.shape[1]
    products_DD = x_MD.new_zeros(width, width)
    for x_BD in of_mD.split(PIECE):
        products_DD += (x_BD - mean_D).T @ (x_BD - mean_D)
    count, x_MD = min(len(of_mD) - 1, width), x_MD - mean_D
    some = max(1, round(SHARE * count))
    values_K, vectors_DK = eigh(products_DD.cpu().double().numpy(), subset_by_index=(width - some, width - 1))
    if values_K[0] <= 0:  # all are equal
        return l2_normalize(x_MD, x_MD.device)
    taken_K = 1 - np.sqrt(values_K[0] / values_K)
    directions_DK = torch.from_numpy(vectors_DK).to(x_MD)
    return l2_normalize(
        x_MD - (x_MD @ directions_DK * torch.from_numpy(taken_K).to(x_MD)) @ directions_DK.T, x_MD.device
    )
