"""Records in random order for storage that is read in fragments: shuffled within a window of some fragments."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sensorium.data.orders.shuffled import Permutation, permutation
from sensorium.errors import DataError


class Blocks:
    """Every epoch the fragments in random order, cut into windows, and the records of each window shuffled.

    Args:
        starts: where the fragments of the source begin, int64 (F + 1,) (see `Source.fragments`).
        positions: where the source has the records, int64 (N,), each once; fragments without any are left out.
        window: most fragments of a window.
        seed: the order is a function of (seed, epoch).

    Raises:
        DataError: when the storage has no fragments.
    """

    def __init__(self, starts: np.ndarray | None, positions: np.ndarray, window: int, seed: int) -> None:
        if starts is None:
            raise DataError(
                "data.order is blocks, but this source reads its records one by one: it has no fragments such as row "
                "groups or tars. Set data.order: shuffled, or pack the records first (`sensorium pack`)."
            )
        is_sorted = bool((positions[1:] > positions[:-1]).all())
        self._sorted_N = None if is_sorted else np.argsort(positions, kind="stable")
        sizes_F = np.diff(np.searchsorted(positions, starts, sorter=self._sorted_N))
        self._sizes_F = sizes_F[sizes_F > 0]
        self._starts_F = np.cumsum(self._sizes_F) - self._sizes_F
        self._window, self._seed = window, seed
        self.epoch = lru_cache(maxsize=2)(self._epoch)

    def _epoch(self, epoch: int) -> Permutation:
        order_F = permutation(len(self._sizes_F), self._seed, "fragments", epoch).at(np.arange(len(self._sizes_F)))
        return _Windows(self, order_F, (self._seed, "window", epoch))

    def records_at(self, fragments: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the records that stand at places of some fragments, laid end to end: int64 (M,) and (K,), (K,)."""
        ends_M = np.cumsum(self._sizes_F[fragments])
        at_K = np.searchsorted(ends_M, places, side="right")
        within_K = places - (ends_M - self._sizes_F[fragments])[at_K]
        rows_K = self._starts_F[fragments[at_K]] + within_K
        return rows_K if self._sorted_N is None else self._sorted_N[rows_K]

    def windows(self, order_F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the bounds of the windows of an epoch, in fragments and in records: int64 (W + 1,) both.

        Fragments are spread evenly over windows, so that the last one is no smaller than the others.
        """
        count = -(-len(order_F) // self._window)
        fragments_W = np.arange(count + 1) * len(order_F) // count
        records_F = np.concatenate([[0], np.cumsum(self._sizes_F[order_F])])
        return fragments_W, records_F[fragments_W]


class _Windows:
    """The order of one epoch.

    Args:
        blocks: the fragments.
        order_F: the fragments in the order of the epoch, int64 (F,).
        names: what the permutations within windows are functions of, beside the number of the window.
    """

    def __init__(self, blocks: Blocks, order_F: np.ndarray, names: tuple[object, ...]) -> None:
        self._blocks, self._order_F, self._names = blocks, order_F, names
        self._fragments_W, self._records_W = blocks.windows(order_F)
        self._permutation = lru_cache(maxsize=2)(self._permute)

    def _permute(self, window: int) -> Permutation:
        count = int(self._records_W[window + 1] - self._records_W[window])
        return permutation(count, *self._names, window)

    def at(self, places: np.ndarray) -> np.ndarray:
        """Return which records come at places, int64 (M,)."""
        records_M = np.empty(len(places), np.int64)
        window_M = np.searchsorted(self._records_W, places, side="right") - 1
        for window in np.unique(window_M).tolist():
            here = window_M == window
            within = self._permutation(window).at(places[here] - self._records_W[window])
            fragments = self._order_F[self._fragments_W[window] : self._fragments_W[window + 1]]
            records_M[here] = self._blocks.records_at(fragments, within)
        return records_M
