"""Duplicate records: equal values, or embeddings that are equal up to rounding."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from sensorium.seeding import generator

IDENTICAL = 1e-4
"""Normalized embeddings at no larger distance are equal up to rounding."""


def duplicate_classes(x_ND: Tensor, values: Sequence[Hashable] | None) -> np.ndarray:
    """Return a class id for each of N rows; duplicates (equal values or equal embeddings) have the same id."""
    first: dict[Hashable, int] = {}
    same = [(first.setdefault(value, row), row) for row, value in enumerate(values or ()) if value is not None]
    one, other = np.concatenate([np.array(same, np.int64).reshape(-1, 2), *_duplicate_pairs(x_ND)]).T
    return connected_components(coo_array((np.ones(len(one)), (one, other)), (len(x_ND), len(x_ND))), directed=False)[1]


def _duplicate_pairs(x_ND: Tensor) -> list[np.ndarray]:
    """Return pairs of duplicate rows (P, 2), at a distance of `IDENTICAL` at most, enough to connect all duplicates.

    Rows are sorted by a random projection, where duplicates are neighbors; three further projections exclude most other
    pairs before the rows themselves are compared.
    """
    projections_N4 = x_ND.double() @ torch.randn(x_ND.shape[1], 4, generator=generator("twins")).double().to(
        x_ND.device
    )
    radius = IDENTICAL * 2 * x_ND.shape[1] ** 0.5  # a direction has a length of about sqrt(D)
    order, step, pairs = projections_N4[:, 0].argsort(), 1, []
    while step < len(order):
        one, other = order[:-step], order[step:]
        near = (projections_N4[other, 0] - projections_N4[one, 0]) <= radius
        if not near.any():
            break
        one, other = one[near], other[near]
        near = ((projections_N4[other] - projections_N4[one]).abs() <= radius).all(1)
        one, other = one[near], other[near]
        same = (x_ND[one] - x_ND[other]).norm(dim=1) <= IDENTICAL
        pairs.append(torch.stack([one[same], other[same]], 1).cpu().numpy())
        if same.any():  # the row before a duplicate stands for it
            order, step = order[~torch.isin(order, other[same])], 1
        else:
            step += 1
    return pairs
