"""All records of a training decoded once, as one batch per modality that later batches are picked from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from sensorium.data.decoding import Decoded
from sensorium.errors import DataError
from sensorium.types import Batch, NegativeValues, RecordBatch


class Cache:
    """Decoded records in memory.

    Args:
        chunks: the decoded records, chunk by chunk, each with the rows of all records that it covers.
        count: number of rows.
        device: where the records are kept.

    Raises:
        DataError: when they do not fit, or batches of a modality differ in shape from chunk to chunk.
    """

    def __init__(
        self, chunks: Iterable[tuple[np.ndarray, Decoded]], count: int, device: torch.device | str = "cpu"
    ) -> None:
        self._device = torch.device(device)
        self._ids: list[str | None] = [None] * count
        self._positions = np.full(count, -1, np.int64)
        self._rows: dict[_Part, Tensor] = {}
        self._keys: dict[str, Tensor] = {}
        parts: dict[_Part, list[Batch]] = {}
        sizes: dict[_Part, int] = {}
        for number, (covered, made) in enumerate(chunks):
            if made.records is None:
                continue
            kept = torch.from_numpy(covered[made.kept])
            for row, id in zip(kept.tolist(), made.records.ids, strict=True):
                self._ids[row] = id
            for name, keys in made.records.keys.items():
                self._keys.setdefault(name, torch.full((count,), -1))[kept] = keys
            self._positions[kept] = made.records.positions
            for part, batch, present in _parts_of(made.records):
                rows = self._rows.setdefault(part, torch.full((count,), -1))
                start = sizes.get(part, 0)
                sizes[part] = start + len(batch)
                rows[kept[present]] = torch.arange(start, sizes[part])
                parts.setdefault(part, []).append(batch)
            if number == 0:
                _check_room(made.records, count)
        for keys in self._keys.values():  # of a label that a record's whole chunk lacks: the record's own
            keys.copy_(torch.where(keys < 0, self._keys["record"], keys))
        self._usable = torch.tensor([id is not None for id in self._ids])
        self._all = {part: bool((rows >= 0)[self._usable].all()) for part, rows in self._rows.items()}
        self._batches = {part: self._join(part[0], parts.pop(part)) for part in list(parts)}

    def _join(self, name: str, batches: list[Batch]) -> Batch:
        if len({batch.shape_key() for batch in batches}) > 1:
            raise DataError(
                f"The modality '{name}' makes batches of different shapes, which cannot be cached; set data.cache: off."
            )
        joined = type(batches[0]).cat(batches)
        try:
            return joined.to(self._device)
        except torch.OutOfMemoryError as error:
            raise DataError(
                f"The records of modality '{name}' do not fit on {self._device}; set data.cache to ram or off."
            ) from error

    def take(self, rows: np.ndarray) -> RecordBatch | None:
        """Return the batch of the usable records among `rows`, in order, or None when there is none."""
        index = torch.from_numpy(rows)
        usable = self._usable[index]
        if not bool(usable.all()):
            index = index[usable]
        if not len(index):
            return None
        batches: dict[str, Batch] = {}
        present: dict[str, Tensor] = {}
        negatives: dict[str, list[NegativeValues]] = {}
        for part, row_of in sorted(self._rows.items(), key=lambda item: item[0][1]):
            (name, rank), rows_B = part, row_of[index]
            present_B = torch.ones(len(index), dtype=torch.bool) if self._all[part] else rows_B >= 0
            if not self._all[part]:
                rows_B = rows_B[present_B]
            present_B = present_B.to(self._device)
            if rank == _OWN:
                present[name] = present_B
            if len(rows_B):
                batch = self._batches[part].select(rows_B.to(self._device))
                if rank == _OWN:
                    batches[name] = batch
                else:
                    negatives.setdefault(name, []).append(NegativeValues(batch, present_B))
        keys = {name: keys[index].to(self._device) for name, keys in self._keys.items()}
        ids = [self._ids[i] for i in index.tolist()]
        return RecordBatch(ids, batches, present, keys, self._positions[index.numpy()], negatives)  # type: ignore[arg-type]


_Part = tuple[str, int]
"""A modality, and `_OWN` for the values of the records themselves or the rank of their mined negatives."""
_OWN = -1


def _parts_of(records: RecordBatch) -> Iterator[tuple[_Part, Batch, Tensor]]:
    """Iterate over the batches of a batch of records, each with which records (B,) have a value in it."""
    for name, batch in records.batches.items():
        yield (name, _OWN), batch, records.present[name]
    for name, ranks in records.negatives.items():
        for rank, (batch, present) in enumerate(ranks):
            yield (name, rank), batch, present


def _check_room(first: RecordBatch, count: int) -> None:
    """Stop before the machine swaps: the whole is estimated from the first chunk."""
    batches = [batch for _, batch, _ in _parts_of(first)]
    size = sum(t.numel() * t.element_size() for t in tree_leaves(batches) if isinstance(t, Tensor))
    needed = size / len(first) * count
    free = _free_memory()
    if needed > free:
        raise DataError(
            f"A cache of all {count} records would take about {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB of "
            "memory are free; set data.cache: off."
        )


def _free_memory() -> float:
    """Return the available memory in bytes; infinity where the system does not report it."""
    meminfo = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s*(\d+) kB", meminfo.read_text()) if meminfo.exists() else None
    return int(found[1]) * 1024 if found else float("inf")
