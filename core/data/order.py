"""The order of a training: which records a step sees, as a pure function of the step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from sensorium.data.neighbor_batches import side_by_side
from sensorium.errors import DataError
from sensorium.seeding import generator


class EpochOrder:
    """Maps a step to its records. It has no state: a resumed run starts at a later step.

    Every epoch is a permutation of all records from (seed, epoch), cut into whole batches; the rest, fewer records
    than a batch, is dropped until the next epoch.

    Args:
        count: number of records.
        batch: number of records of one optimizer step, over all ranks.
        seed: of the permutations.
        neighbors: for each record those that are to follow it in every epoch (see `side_by_side`).
    """

    def __init__(self, count: int, batch: int, seed: int, neighbors: Sequence[np.ndarray] | None = None) -> None:
        if batch < 1:
            raise DataError(f"data.batch is {batch}; it must be at least 1.")
        if batch > count:
            raise DataError(
                f"data.batch is {batch}, but there are only {count} records to train on; "
                f"set data.batch to {count} or less."
            )
        self.count, self.batch, self.seed, self._neighbors = count, batch, seed, neighbors
        self.steps_per_epoch = count // batch
        # Two epochs: the one at hand, and the next one while loader workers run ahead.
        self._permutation = lru_cache(maxsize=2)(self._permute)

    def _permute(self, epoch: int) -> np.ndarray:
        order_N = torch.randperm(self.count, generator=generator(self.seed, "order", epoch)).numpy()
        return order_N if self._neighbors is None else side_by_side(order_N, self._neighbors)

    def epoch(self, step: int) -> int:
        """Return the epoch of a step."""
        return step // self.steps_per_epoch

    def positions(self, step: int) -> np.ndarray:
        """Return the records of one step over all ranks: int64 (batch,)."""
        start = step % self.steps_per_epoch * self.batch
        return self._permutation(self.epoch(step))[start : start + self.batch]

    def micro_batches(self, step: int, rank: int, world: int, accumulate: int) -> list[np.ndarray]:
        """Return this rank's part of one step, in `accumulate` parts.

        Ranks take consecutive slices, as even as can be, so that their union is exactly the step's batch.
        """
        mine = np.array_split(self.positions(step), world)[rank]
        return np.array_split(mine, accumulate)
