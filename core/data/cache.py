"""All records of a training decoded once, as one batch per modality that later batches are picked from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from sensorium.data.decoding import Decoded
from sensorium.errors import DataError
from sensorium.types import Batch, RecordBatch


class Cache:
    """Decoded records in memory.

    Args:
        chunks: the decoded records, chunk by chunk, each with the places of all records that it covers.
        count: how many places there are.
        device: where the records are kept.

    Raises:
        DataError: when they do not fit, or batches of a modality differ in shape from chunk to chunk.
    """

    def __init__(
        self, chunks: Iterable[tuple[np.ndarray, Decoded]], count: int, device: torch.device | str = "cpu"
    ) -> None:
        self._device = torch.device(device)
        self._ids: list[str | None] = [None] * count
        self._rows: dict[str, Tensor] = {}
        self._keys: dict[str, Tensor] = {}
        parts: dict[str, list[Batch]] = {}
        sizes: dict[str, int] = {}
        for number, (places, made) in enumerate(chunks):
            if made.records is None:
                continue
            kept = torch.from_numpy(places[made.kept])
            for place, id in zip(kept.tolist(), made.records.ids, strict=True):
                self._ids[place] = id
            for name, keys in made.records.keys.items():
                self._keys.setdefault(name, torch.full((count,), -1))[kept] = keys
            for name, batch in made.records.batches.items():
                rows = self._rows.setdefault(name, torch.full((count,), -1))
                start = sizes.get(name, 0)
                sizes[name] = start + len(batch)
                rows[kept[made.records.present[name]]] = torch.arange(start, sizes[name])
                parts.setdefault(name, []).append(batch)
            if number == 0:
                _check_room(made.records, count)
        for keys in self._keys.values():  # of a label that a record's whole chunk lacks: the record's own
            keys.copy_(torch.where(keys < 0, self._keys["record"], keys))
        self._usable = torch.tensor([id is not None for id in self._ids])
        self._all = {name: bool((rows >= 0)[self._usable].all()) for name, rows in self._rows.items()}
        self._batches = {name: self._join(name, parts.pop(name)) for name in list(parts)}

    def _join(self, name: str, batches: list[Batch]) -> Batch:
        if len({batch.shape_key() for batch in batches}) > 1:
            raise DataError(
                f"The modality '{name}' makes batches of different shapes, which no cache holds; set data.cache: off."
            )
        joined = type(batches[0]).cat(batches)
        try:
            return joined.to(self._device)
        except torch.OutOfMemoryError as error:
            raise DataError(
                f"The records of modality '{name}' do not fit on {self._device}; set data.cache to ram or off."
            ) from error

    def take(self, places: np.ndarray) -> RecordBatch | None:
        """Return the batch of the usable records at `places`, in order, or None when there is none."""
        index = torch.from_numpy(places)
        usable = self._usable[index]
        if not bool(usable.all()):
            index = index[usable]
        if not len(index):
            return None
        batches, present = {}, {}
        for name, rows in self._rows.items():
            rows_B = rows[index]
            present[name] = torch.ones(len(index), dtype=torch.bool) if self._all[name] else rows_B >= 0
            if not self._all[name]:
                rows_B = rows_B[present[name]]
            if len(rows_B):
                batches[name] = self._batches[name].select(rows_B.to(self._device))
        present = {name: mask.to(self._device) for name, mask in present.items()}
        keys = {name: keys[index].to(self._device) for name, keys in self._keys.items()}
        return RecordBatch([self._ids[i] for i in index.tolist()], batches, present, keys)


def _check_room(first: RecordBatch, count: int) -> None:
    """Stop before the machine swaps: what the first chunk takes foretells the whole."""
    held = sum(t.numel() * t.element_size() for t in tree_leaves(first.batches) if isinstance(t, Tensor))
    needed = held / len(first) * count
    free = _free_memory()
    if needed > free:
        raise DataError(
            f"A cache of all {count} records would take about {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB of "
            "memory are free; set data.cache: off."
        )


def _free_memory() -> float:
    """Return the bytes that programs can still have; without bound where the system does not say."""
    told = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s*(\d+) kB", told.read_text()) if told.exists() else None
    return int(found[1]) * 1024 if found else float("inf")
