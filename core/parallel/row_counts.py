"""How many rows other ranks have: exchanged between hosts, or known because their batches have the same shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch.distributed as dist

from sensorium.parallel.host_group import exchange_ints

WATCHED = 8
"""Steps of equal layout in which counts are exchanged all the same, to see that they are equal too."""


class RowCounts:
    """Spares the steps of a training the exchange of row counts.

    In a step whose views have the same layout on every rank, so does all that is computed from them, where no shape
    depends on data; other ranks then have as many rows as this one, and only layouts are exchanged, once. Whether it
    is so is watched in the first such steps: as soon as counts differ in one, all are exchanged in every step.
    """

    def __init__(self) -> None:
        self._watched, self._differed, self.alike = 0, False, False

    @contextmanager
    def of_step(self, layout: Callable[[], int]) -> Iterator[None]:
        """Count the rows of one step's forward pass; a collective operation.

        Args:
            layout: returns 63 bits, equal where the shapes that a rank's step starts from are equal.
        """
        global _of_step
        self.alike = _several_ranks() and len({of_rank for (of_rank,) in exchange_ints([layout()])}) == 1
        _of_step = self
        try:
            yield
        finally:
            _of_step = None
            self._watched += self.alike

    def exchange(self, counts: list[int]) -> list[list[int]]:
        """Return every rank's counts, as many on each, in rank order."""
        if self.alike and not self._differed and self._watched >= WATCHED:
            return [counts] * dist.get_world_size()
        found = exchange_ints(counts)
        self._differed |= self.alike and any(other != found[0] for other in found)
        return found


_of_step: RowCounts | None = None
"""The counts of the training whose step is under way."""


def exchange_counts(counts: list[int]) -> list[list[int]]:
    """Return every rank's row counts, as many on each, in rank order; a collective operation."""
    if not _several_ranks():
        return [counts]
    return exchange_ints(counts) if _of_step is None else _of_step.exchange(counts)


def _several_ranks() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
