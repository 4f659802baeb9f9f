"""Duplicate records: equal values, or embeddings that are equal up to rounding."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import product

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from sensorium.seeding import generator

IDENTICAL = 1e-4
"""Normalized embeddings at no larger distance are equal up to rounding."""
ROWS = 2**16
"""Rows that are projected, and pairs that are compared, at once."""
CELLS = [cell for cell in product((-1, 0, 1), repeat=3) if cell >= (0, 0, 0)]
"""A cell and half of those around it: each pair of neighboring cells is looked at once."""


def duplicate_classes(x_ND: Tensor, values: Sequence[Hashable] | None) -> np.ndarray:
    """Return a class id for each of N rows; duplicates (equal values or equal embeddings) have the same id."""
    first: dict[Hashable, int] = {}
    same = [(first.setdefault(value, row), row) for row, value in enumerate(values or ()) if value is not None]
    one, other = np.concatenate([np.array(same, np.int64).reshape(-1, 2), *_duplicate_pairs(x_ND)]).T
    return connected_components(coo_array((np.ones(len(one)), (one, other)), (len(x_ND), len(x_ND))), directed=False)[1]


def _duplicate_pairs(x_ND: Tensor) -> list[np.ndarray]:
    """Return pairs of duplicate rows (P, 2), at a distance of `IDENTICAL` at most, enough to connect all duplicates.

    Rows are projected onto four random directions. Sorted by the first, duplicates are neighbors as long as little lies
    between them, and the row before a duplicate stands for it. What is left is compared within the cells of a grid over
    the first three, where few other rows lie, and only if the fourth projection is near as well.
    """
    projections_N4 = _projections(x_ND)
    radius = IDENTICAL * 2 * x_ND.shape[1] ** 0.5  # a direction has a length of about sqrt(D)
    order, pairs = np.argsort(projections_N4[:, 0], kind="stable"), []
    while True:
        one, other = order[:-1], order[1:]
        same = _are_same(x_ND, projections_N4, one, other, radius)
        pairs.append(np.stack([one[same], other[same]], 1))
        if not same.any():
            break
        order = np.concatenate([order[:1], other[~same]])
    for one, other in _near_pairs(projections_N4[order, :3], radius):
        same = _are_same(x_ND, projections_N4, order[one], order[other], radius)
        pairs.append(np.stack([order[one[same]], order[other[same]]], 1))
    return pairs


def _projections(x_ND: Tensor) -> np.ndarray:
    """Return projections of rows onto four random directions, float64 (N, 4)."""
    directions_D4 = torch.randn(x_ND.shape[1], 4, generator=generator("twins")).double().to(x_ND.device)
    return torch.cat([x_MD.double() @ directions_D4 for x_MD in x_ND.split(ROWS)]).cpu().numpy()


def _are_same(
    x_ND: Tensor, projections_N4: np.ndarray, one: np.ndarray, other: np.ndarray, radius: float
) -> np.ndarray:
    """Return which of P pairs of rows are duplicates, bool (P,)."""
    same = np.zeros(len(one), bool)
    for start in range(0, len(one), ROWS):
        a, b = one[start : start + ROWS], other[start : start + ROWS]
        near = np.flatnonzero((np.abs(projections_N4[a] - projections_N4[b]) <= radius).all(1))
        if len(near):
            x_PD, y_PD = (x_ND[torch.from_numpy(rows[near]).to(x_ND.device)] for rows in (a, b))
            same[start + near] = ((x_PD - y_PD).norm(dim=1) <= IDENTICAL).cpu().numpy()
    return same


def _near_pairs(points_M3: np.ndarray, radius: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of points in space, some at a time: all that are no further apart in any coordinate, and others."""
    cells_M3 = np.floor((points_M3 - points_M3.min(axis=0, initial=0)) / radius).astype(np.int64) + 1
    _, rows, columns = cells_M3.max(axis=0, initial=0) + 2
    strides_3 = np.array([rows * columns, columns, 1])
    keys_M = cells_M3 @ strides_3
    order = np.argsort(keys_M, kind="stable")
    keys_M = keys_M[order]
    for cell in CELLS:
        wanted_M = keys_M + strides_3 @ cell
        starts_M = np.searchsorted(keys_M, wanted_M, side="left")
        if cell == (0, 0, 0):
            starts_M = np.arange(len(keys_M)) + 1  # each pair within a cell once
        counts_M = np.searchsorted(keys_M, wanted_M, side="right") - starts_M
        ends_M = np.cumsum(counts_M)
        for first in range(0, int(ends_M[-1]) if len(ends_M) else 0, ROWS):
            numbers = np.arange(first, min(first + ROWS, int(ends_M[-1])))
            of = np.searchsorted(ends_M, numbers, side="right")
            yield order[of], order[starts_M[of] + numbers - (ends_M[of] - counts_M[of])]
