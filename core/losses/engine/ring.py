"""A ring of ranks that pass blocks of rows: memory stays that of two blocks however many ranks."""

from __future__ import annotations

from collections.abc import Sequence

import torch.distributed as dist
from torch import Tensor

from sensorium.parallel import collectives


class Transfer:
    """Blocks in transfer: sent to the previous rank, received from the next."""

    def __init__(self, blocks: list[Tensor | None], incoming: int, world: int) -> None:
        previous, following = (collectives.rank() - 1) % world, (collectives.rank() + 1) % world
        self._sent = [None if t is None else t.contiguous() for t in blocks]
        self._incoming = [None if t is None else t.new_empty(incoming, *t.shape[1:]) for t in blocks]
        ops = [dist.P2POp(dist.isend, t, previous) for t in self._sent if t is not None and t.numel()]
        ops += [dist.P2POp(dist.irecv, t, following) for t in self._incoming if t is not None and t.numel()]
        self._work = dist.batch_isend_irecv(ops) if ops else []

    def wait(self) -> list[Tensor | None]:
        """Return the received blocks."""
        for work in self._work:
            work.wait()
        return self._incoming


class Ring:
    """The ranks in a circle; at step s each holds the block of the rank s positions after it.

    Args:
        sizes: number of rows of each rank's own block.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = sizes
        self.steps = range(len(sizes))

    def size(self, step: int) -> int:
        """Return how many rows the block held at a step has."""
        return self._sizes[(collectives.rank() + step) % len(self._sizes)]

    def has_next(self, step: int) -> bool:
        """Whether another block follows after this step."""
        return step + 1 < len(self._sizes)

    def start(self, step: int, *blocks: Tensor | None) -> Transfer:
        """Start to send the blocks held at `step`, and to receive the next ones; None stays None."""
        return Transfer(list(blocks), self.size(step + 1), len(self._sizes))

    def pass_on(self, step: int, block: Tensor) -> Tensor:
        """Pass on what belongs to the block held at `step`; after the last step it is back on its own rank."""
        if len(self._sizes) == 1:
            return block
        (received,) = self.start(step, block).wait()
        return received  # type: ignore[return-value]
