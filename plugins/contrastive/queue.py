"""Rows of earlier batches, kept for contrast."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sensorium import collectives


class Queue(nn.Module):
    """A first-in-first-out queue of unit rows, the same on every rank; it begins with random directions.

    Args:
        size: how many rows it holds.
        dim: their width.
    """

    rows: Tensor
    pushed: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))

    @property
    def filled(self) -> Tensor:
        """The share of rows that came from data."""
        return (self.pushed / len(self.rows)).clamp(max=1)

    @torch.no_grad()
    def push(self, rows_BD: Tensor) -> None:
        """Put this rank's rows, and those of every other rank, in the place of the oldest."""
        new_MD, _ = collectives.gather(F.normalize(rows_BD.to(self.rows.dtype), dim=1))
        dropped = max(len(new_MD) - len(self.rows), 0)
        places_M = (self.pushed + torch.arange(dropped, len(new_MD), device=self.rows.device)) % len(self.rows)
        # A new tensor, not a write into the old one: the loss just made still needs that for its gradient.
        self.rows = self.rows.index_copy(0, places_M, new_MD[dropped:])
        self.pushed += len(new_MD)
