"""The order of a training: which records a step sees, as a pure function of the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from sensorium.data.neighbor_batches import side_by_side
from sensorium.data.orders.shuffled import Permutation, Shuffled
from sensorium.errors import DataError


class EpochOrder:
    """Maps a step to its records. It has no state: a resumed run starts at a later step.

    Every epoch is a permutation of all records, a function of (seed, epoch), cut into whole batches; the rest, fewer
    records than a batch, is dropped until the next epoch.

    Args:
        count: number of records.
        batch: number of records of one optimizer step, over all ranks.
        seed: of the permutations.
        neighbors: for each record those that are to follow it in every epoch (see `side_by_side`); the whole
            permutation is then held, 8 bytes a record.
        permutation_of: epoch -> its permutation; by default of all records at random.
    """

    def __init__(
        self,
        count: int,
        batch: int,
        seed: int,
        neighbors: Sequence[np.ndarray] | None = None,
        permutation_of: Callable[[int], Permutation] | None = None,
    ) -> None:
        if batch < 1:
            raise DataError(f"data.batch is {batch}; it must be at least 1.")
        if batch > count:
            raise DataError(
                f"data.batch is {batch}, but there are only {count} records to train on; "
                f"set data.batch to {count} or less."
            )
        self.count, self.batch, self.seed, self._neighbors = count, batch, seed, neighbors
        self.steps_per_epoch = count // batch
        self._permutation_of = permutation_of or Shuffled(count, seed).epoch
        # Two epochs: the one at hand, and the next one while loader workers run ahead.
        self._with_neighbors = lru_cache(maxsize=2)(self._side_by_side)

    def _side_by_side(self, epoch: int) -> np.ndarray:
        assert self._neighbors is not None, "records come with neighbors"
        return side_by_side(self._permutation_of(epoch).at(np.arange(self.count)), self._neighbors)

    def epoch(self, step: int) -> int:
        """Return the epoch of a step."""
        return step // self.steps_per_epoch

    def positions(self, step: int) -> np.ndarray:
        """Return the records of one step over all ranks: int64 (batch,)."""
        return self._at(self.epoch(step), self._places(step))

    def micro_batches(self, step: int, rank: int, world: int, accumulate: int) -> list[np.ndarray]:
        """Return this rank's part of one step, in `accumulate` parts.

        Ranks take consecutive slices, as even as can be, so that their union is exactly the step's batch.
        """
        mine = np.array_split(self._places(step), world)[rank]
        return np.array_split(self._at(self.epoch(step), mine), accumulate)

    def _places(self, step: int) -> np.ndarray:
        """Return the places of a step in the order of its epoch, int64 (batch,)."""
        start = step % self.steps_per_epoch * self.batch
        return np.arange(start, start + self.batch)

    def _at(self, epoch: int, places: np.ndarray) -> np.ndarray:
        if self._neighbors is not None:
            return self._with_neighbors(epoch)[places]
        return self._permutation_of(epoch).at(places)
