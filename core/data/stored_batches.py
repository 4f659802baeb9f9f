"""Batches in a file that processes map: written as they are decoded, picked from without reading them whole."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

from sensorium.data.described import DescribedBatch
from sensorium.data.unnamed_file import MappedFile, Stored, UnnamedFile, as_bytes
from sensorium.types import Batch

SEGMENT = 1 << 28
"""Bytes of examples that are joined before they are written, of batches that have a way of their own to be joined."""


def has_rows(batch: Batch) -> bool:
    """Return whether a batch is tensors with an example in each row, which are picked and joined row by row."""
    if isinstance(batch, DescribedBatch):
        return has_rows(batch.batch)
    return type(batch).select is Batch.select and type(batch).cat.__func__ is Batch.cat.__func__  # type: ignore[attr-defined]


def size_of(batches: Any) -> int:
    """Return the bytes of all tensors and arrays."""
    return sum(leaf.nbytes for leaf in tree_leaves(batches) if isinstance(leaf, Tensor | np.ndarray))


@dataclass
class StoredBatch:
    """Where a file holds a batch.

    Args:
        count: its examples.
        structure: of the batch.
        leaves: its tensors and arrays, and whatever else it has, in order.
    """

    count: int
    structure: TreeSpec
    leaves: list[Any]

    def read(self, file: MappedFile) -> Batch:
        """Return the batch, its tensors without a copy."""
        leaves = [file.array(leaf) if isinstance(leaf, Stored) else leaf for leaf in self.leaves]
        return tree_unflatten(leaves, self.structure)


class BatchWriter:
    """Writes batches of one kind behind each other.

    Args:
        file: what they are written to.
        capacity: the most examples there will be.
    """

    def __init__(self, file: UnnamedFile, capacity: int) -> None:
        self._file, self._capacity = file, capacity
        self.count = 0
        self._shape: Hashable = None
        self._rows: StoredBatch | None = None
        self._pending: list[Batch] = []
        self._joined: list[StoredBatch] = []

    def add(self, batch: Batch) -> bool:
        """Write a batch; False if its shape is not that of those before."""
        if self.count == 0:
            self._shape = batch.shape_key()
        elif self._shape != batch.shape_key():
            return False
        self.count += len(batch)
        if has_rows(batch):
            self._write_rows(batch)
        else:
            self._pending.append(batch)
            if size_of(self._pending) >= SEGMENT:
                self._join()
        return True

    def stored(self) -> list[StoredBatch]:
        """Return where everything is."""
        self._join()
        return [self._rows] if self._rows is not None else self._joined

    def _write_rows(self, batch: Batch) -> None:
        leaves, structure = tree_flatten(batch)
        if self._rows is None:  # what stays empty of it takes no room
            self._rows = StoredBatch(0, structure, [self._reserved(leaf) for leaf in leaves])
        start = self._rows.count
        self._rows.count += len(batch)
        for at, (leaf, held) in enumerate(zip(leaves, self._rows.leaves, strict=True)):
            if isinstance(held, Stored):
                row = leaf[:1].nbytes
                self._file.write(held.start + start * row, as_bytes(leaf.contiguous()))
                self._rows.leaves[at] = held._replace(shape=(self._rows.count, *held.shape[1:]))

    def _reserved(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        start = self._file.reserve(leaf[:1].nbytes * self._capacity)
        return Stored(start, (0, *leaf.shape[1:]), leaf.dtype, is_host=False)

    def _join(self) -> None:
        if self._pending:
            joined = type(self._pending[0]).cat(self._pending)
            leaves, structure = tree_flatten(joined)
            stored = [self._file.store(x) if isinstance(x, Tensor | np.ndarray) else x for x in leaves]
            self._joined.append(StoredBatch(len(joined), structure, stored))
            self._pending = []


@dataclass
class Shelf:
    """Examples of one modality in several batches of one shape, numbered throughout.

    Args:
        batches: where the examples are, on one device.
        pin: pick into page-locked memory.
    """

    batches: list[Batch]
    pin: bool = False
    _ends: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self._ends = np.cumsum([len(batch) for batch in self.batches])

    def on(self, device: torch.device) -> Shelf:
        """Return the examples as one batch on a device; of itself where they are there."""
        if device.type == "cpu":
            return self
        if not has_rows(self.batches[0]):
            return Shelf([type(self.batches[0]).cat(self.batches).to(device)])
        columns, structure = zip(*map(tree_flatten, self.batches), strict=True)
        joined = [_on(device, parts) for parts in zip(*columns, strict=True)]
        return Shelf([tree_unflatten(joined, structure[0])])

    def take(self, rows_N: np.ndarray, index_N: Tensor) -> Batch:
        """Return the examples at `rows_N`, int64 (N,), which `index_N` has on the device."""
        first = self.batches[0]
        if not has_rows(first):
            selected = self._selected(rows_N)
            return selected.pin_memory() if self.pin else selected
        columns, structure = zip(*map(tree_flatten, self.batches), strict=True)
        return tree_unflatten(
            [self._rows(parts, rows_N, index_N) for parts in zip(*columns, strict=True)], structure[0]
        )

    def _rows(self, parts: Sequence[Any], rows_N: np.ndarray, index_N: Tensor) -> Any:
        """Return the rows of a column of the batches."""
        first = parts[0]
        if not isinstance(first, Tensor):
            return first
        if len(parts) == 1:
            return picked(first, index_N, self.pin)
        taken = torch.empty((len(rows_N), *first.shape[1:]), dtype=first.dtype, pin_memory=self.pin)
        for part, at, within in self._by_batch(rows_N):
            taken[at] = parts[part][within]
        return taken

    def _selected(self, rows_N: np.ndarray) -> Batch:
        """Return examples of batches that know on the host how they are picked."""
        if len(self.batches) == 1:
            return self.batches[0].select(torch.from_numpy(rows_N))
        found = list(self._by_batch(rows_N))
        if len(found) == 1:
            return self.batches[found[0][0]].select(found[0][2])
        parts = [self.batches[part].select(within) for part, _, within in found]
        order_N = torch.cat([at for _, at, _ in found]).argsort()
        return type(parts[0]).cat(parts).select(order_N)

    def _by_batch(self, rows_N: np.ndarray) -> list[tuple[int, Tensor, Tensor]]:
        """Return, for each batch that has some of the rows, which they are and where it has them."""
        part_N = np.searchsorted(self._ends, rows_N, side="right")
        found = []
        for part in np.unique(part_N).tolist():
            at = np.flatnonzero(part_N == part)
            start = self._ends[part] - len(self.batches[part])
            found.append((part, torch.from_numpy(at), torch.from_numpy(rows_N[at] - start)))
        return found


def picked(x: Tensor, index_N: Tensor, pin: bool) -> Tensor:
    """Return the rows of a tensor at `index_N`, on its device, in page-locked memory if `pin`."""
    if not pin:
        return x[index_N]
    pinned = torch.empty((len(index_N), *x.shape[1:]), dtype=x.dtype, pin_memory=True)
    return torch.index_select(x, 0, index_N, out=pinned)


def _on(device: torch.device, parts: Sequence[Any]) -> Any:
    """Return a column of batches as one on a device, copied there part by part."""
    if not isinstance(parts[0], Tensor):
        return parts[0]
    if len(parts) == 1:
        return parts[0].to(device)
    joined = torch.empty((sum(map(len, parts)), *parts[0].shape[1:]), dtype=parts[0].dtype, device=device)
    start = 0
    for part in parts:
        joined[start : start + len(part)] = part
        start += len(part)
    return joined
