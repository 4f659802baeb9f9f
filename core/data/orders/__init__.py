"""Orders of the records of an epoch: permutations, each a pure function of (seed, epoch, place)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from sensorium.contracts import Source
from sensorium.data.orders.blocks import Blocks
from sensorium.data.orders.shuffled import Permutation, Shuffled

OrderName: TypeAlias = Literal["shuffled", "blocks", "randperm"]


def permutations(
    order: OrderName, source: Source, positions: np.ndarray, seed: int, window: int | None = None
) -> Callable[[int], Permutation]:
    """Return what gives the permutation of some records in each epoch.

    Args:
        order: its name.
        source: where the records come from; of blocks, its fragments.
        positions: which of its records, int64 (N,).
        seed: the permutation is a function of (seed, epoch).
        window: of blocks, most fragments that are shuffled together.

    Raises:
        DataError: when blocks are asked for, and the storage has no fragments.
    """
    if order == "blocks":
        assert window is not None, "blocks have a window"
        return Blocks(source.fragments(), positions, window, seed).epoch
    return Shuffled(len(positions), seed, whole=order == "randperm").epoch
