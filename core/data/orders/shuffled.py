"""Records in random order, each of them anywhere."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np
import torch

from sensorium.data.orders.keyed import KeyedPermutation
from sensorium.seeding import generator

WHOLE = 2**16
"""Up to so many numbers, a permutation is drawn whole: that is uniform over all permutations, and costs 512 KiB."""


class Permutation(Protocol):
    """The order of the records of one epoch."""

    def at(self, places: np.ndarray) -> np.ndarray:
        """Return which records come at places, int64 (M,), both numbered from 0."""


class WholePermutation:
    """A permutation of the numbers below `count`, drawn whole by `torch.randperm`, a function of its names."""

    def __init__(self, count: int, *names: object) -> None:
        self._order_N = torch.randperm(count, generator=generator(*names)).numpy()

    def at(self, places: np.ndarray) -> np.ndarray:
        """Return which numbers stand at places, int64 (M,)."""
        return self._order_N[places]


def permutation(count: int, *names: object) -> Permutation:
    """Return a random permutation of the numbers below `count`, a function of names: whole if small, else keyed."""
    return WholePermutation(count, *names) if count <= WHOLE else KeyedPermutation(count, *names)


class Shuffled:
    """Every epoch a random permutation of all records.

    Args:
        count: number of records.
        seed: the permutation is a function of (seed, epoch).
        whole: draw it whole, however many records there are, as runs before `data.order` did.
    """

    def __init__(self, count: int, seed: int, whole: bool = False) -> None:
        self._count, self._seed, self._make = count, seed, WholePermutation if whole else permutation
        self.epoch = lru_cache(maxsize=2)(self._epoch)  # the one at hand, and the next one while workers run ahead

    def _epoch(self, epoch: int) -> Permutation:
        return self._make(self._count, self._seed, "order", epoch)
