"""Where the nodes, or the edges, of a batch of graphs lie: all in one list of rows, and padded graph by graph.

Numbers of rows are known on the host, as NumPy arrays, so that neither waits for the device. Letters as in
`sensorium.modalities.graph.batch`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from sensorium import to_device

MAX_PAIRS = 1 << 22
"""Most padded pairs of rows of the graphs in one group by size; a larger graph is a group by itself."""


@dataclass(frozen=True)
class RowLayout:
    """One row for each node (or edge) of B graphs, in a list of N rows and in a padded array of B x T places.

    Args:
        sizes: int64 (B,), number of rows of each graph, on the host.
        sizes_B: the same on the device.
        graph_N: int64 (N,), graph of each row, ascending.
        place_N: int64 (N,), place of each row, 0 to B x T - 1, ascending.
        mask_BT: bool (B, T), True where a place has a row.
    """

    sizes: np.ndarray
    sizes_B: Tensor
    graph_N: Tensor
    place_N: Tensor
    mask_BT: Tensor

    @classmethod
    def of_mask(cls, mask_BT: np.ndarray, device: torch.device | str) -> Self:
        """Return the layout of rows at the places where a mask on the host is True."""
        sizes, place_N = mask_BT.sum(1), np.flatnonzero(mask_BT)
        graph_N = np.arange(len(sizes)).repeat(sizes)
        return cls(sizes, *to_device([sizes, graph_N, place_N, mask_BT], device))

    @classmethod
    def of_sizes(cls, sizes: np.ndarray, device: torch.device | str) -> Self:
        """Return the layout of graphs of these sizes, int64 (B,), each padded at its end."""
        return cls.of_mask(np.arange(sizes.max(initial=0)) < sizes[:, None], device)

    @property
    def is_full(self) -> bool:
        """Whether every place has a row."""
        return len(self.graph_N) == self.mask_BT.numel()

    @cached_property
    def size_groups(self) -> list[tuple[Tensor, Self]]:
        """Graphs of similar size, so that little of their padded array is padding: their rows and a layout of these.

        The rows of a group are indices int64 (M,), ascending; together the groups have all N.
        """
        found, device = [], self.graph_N.device
        first_B = self.sizes.cumsum() - self.sizes
        for graphs in _by_size(self.sizes):
            (rows_M,) = to_device([runs(first_B[graphs], self.sizes[graphs])], device)
            found.append((rows_M, self.of_sizes(self.sizes[graphs], device)))
        return found

    def repeat(self, copies: int) -> Self:
        """Return the layout of `copies` copies of every graph, copy after copy."""
        b, t = self.mask_BT.shape
        return type(self)(
            np.tile(self.sizes, copies),
            self.sizes_B.repeat(copies),
            torch.cat([self.graph_N + copy * b for copy in range(copies)]),
            torch.cat([self.place_N + copy * b * t for copy in range(copies)]),
            self.mask_BT.repeat(copies, 1),
        )

    def pad(self, rows_N: Tensor) -> Tensor:
        """Return rows (N, ...) padded to (B, T, ...) with zeros."""
        b, t = self.mask_BT.shape
        places = rows_N.new_zeros(b * t, *rows_N.shape[1:])
        return places.index_copy(0, self.place_N, rows_N).view(b, t, *rows_N.shape[1:])

    def unpad(self, x_BT: Tensor) -> Tensor:
        """Return the rows (N, ...) of a padded array (B, T, ...)."""
        return x_BT.flatten(0, 1).index_select(0, self.place_N)


def _by_size(sizes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the indices, ascending, of non-empty graphs in groups of similar size."""
    group: list[int] = []
    for graph in sizes.argsort(kind="stable").tolist():
        size = int(sizes[graph])
        if group and (len(group) + 1) * size * size > MAX_PAIRS:
            yield np.sort(group)
            group = []
        if size:
            group.append(graph)
    if group:
        yield np.sort(group)


def runs(starts_M: np.ndarray, lengths_M: np.ndarray) -> np.ndarray:
    """Return the concatenated indices of runs: `starts_M[i]` to `starts_M[i] + lengths_M[i] - 1`."""
    before_M = lengths_M.cumsum() - lengths_M
    return np.arange(lengths_M.sum()) + (starts_M - before_M).repeat(lengths_M)
