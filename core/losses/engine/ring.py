"""A ring of ranks, round which blocks of rows are passed: memory stays that of two blocks however many ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch.distributed as dist
from torch import Tensor

from sensorium.parallel import collectives


class Passing:
    """Blocks on their way: sent to the rank before, awaited from the one after."""

    def __init__(self, blocks: list[Tensor | None], incoming: int, world: int) -> None:
        before, after = (collectives.rank() - 1) % world, (collectives.rank() + 1) % world
        self._sent = [None if t is None else t.contiguous() for t in blocks]
        self._coming = [None if t is None else t.new_empty(incoming, *t.shape[1:]) for t in blocks]
        ops = [dist.P2POp(dist.isend, t, before) for t in self._sent if t is not None and t.numel()]
        ops += [dist.P2POp(dist.irecv, t, after) for t in self._coming if t is not None and t.numel()]
        self._work = dist.batch_isend_irecv(ops) if ops else []

    def wait(self) -> list[Tensor | None]:
        """Return what came."""
        for work in self._work:
            work.wait()
        return self._coming


class Ring:
    """The ranks in a circle; at step s each holds the block of the rank s places after it.

    Args:
        sizes: how many rows each rank's own block has.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self.steps = range(len(sizes))

    def size(self, step: int) -> int:
        """Return how many rows the block held at a step has."""
        return self._sizes[(collectives.rank() + step) % len(self._sizes)]

    def turns(self, step: int) -> bool:
        """Whether another block is to be held after this step."""
        return step + 1 < len(self._sizes)

    def start(self, step: int, *blocks: Tensor | None) -> Passing:
        """Hand on blocks of the rows held at `step`, and begin to receive those of the next; None stays None."""
        return Passing(list(blocks), self.size(step + 1), len(self._sizes))

    def hand_on(self, step: int, block: Tensor) -> Tensor:
        """Hand on what was made of the rows held at `step`; after the last step it is home again."""
        if len(self._sizes) == 1:
            return block
        (came,) = self.start(step, block).wait()
        return came  # type: ignore[return-value]
