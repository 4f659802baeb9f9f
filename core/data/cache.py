"""Records decoded once, as one batch per modality that later batches are picked from, in training and evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from sensorium.data.decoding import Decoded
from sensorium.data.described import descriptors_apart
from sensorium.data.memory import memory
from sensorium.data.several import drawn
from sensorium.devices import to_device
from sensorium.errors import DataError
from sensorium.presence import Presence, presence
from sensorium.record_keys import RecordKeys
from sensorium.types import Batch, RankedValues, RecordBatch


class Cache:
    """Decoded records in memory.

    Args:
        chunks: the decoded records, chunk by chunk, each with the rows of all records that it covers.
        positions: where the source has the records of all rows, int64 (N,), each once.
        device: where the records are kept.
        pin: pick batches into page-locked memory, from which copies to a GPU need not wait.

    Raises:
        DataError: when they do not fit, or batches of a modality differ in shape from chunk to chunk.
    """

    def __init__(
        self,
        chunks: Iterable[tuple[np.ndarray, Decoded]],
        positions: np.ndarray,
        device: torch.device | str = "cpu",
        pin: bool = False,
    ) -> None:
        self._device, self._pin = torch.device(device), pin
        count = len(positions)
        self._positions, self._order = positions, np.argsort(positions)
        self._ids: list[str | None] = [None] * count
        rows_of: dict[_Part, np.ndarray] = {}
        keys_of: dict[str, np.ndarray] = {}
        parts: dict[_Part, list[Batch]] = {}
        sizes: dict[_Part, int] = {}
        for number, (covered, made) in enumerate(chunks):
            if made.records is None:
                continue
            kept = covered[made.kept]
            for row, id in zip(kept.tolist(), made.records.ids, strict=True):
                self._ids[row] = id
            for name, keys in made.records.keys.items():
                keys_of.setdefault(name, np.full(count, -1, np.int64))[kept] = keys.numpy()
            for part, batch, present in _parts_of(made.records):
                rows = rows_of.setdefault(part, np.full(count, -1, np.int64))
                start = sizes.get(part, 0)
                sizes[part] = start + len(batch)
                rows[kept if present is None else kept[present]] = np.arange(start, sizes[part])
                parts.setdefault(part, []).append(batch)
            if number == 0:
                _check_room(made.records, count)
        for keys_N in keys_of.values():  # of a label that a record's whole chunk lacks: the record's own
            np.copyto(keys_N, keys_of["record"], where=keys_N < 0)
        packed_NK = np.stack(list(keys_of.values()), axis=1) if keys_of else np.zeros((count, 0), np.int64)
        self._keys = RecordKeys(tuple(keys_of), *to_device([packed_NK], self._device))
        self._usable = np.array([id is not None for id in self._ids])
        self._all_usable = bool(self._usable.all())
        self._rows = {
            part: rows_of[part] for part in sorted(rows_of, key=lambda part: (_KINDS.index(part[1]), part[2]))
        }
        self._in_all = {part: bool((rows >= 0)[self._usable].all()) for part, rows in self._rows.items()}
        self._record_keys = keys_of.get("record", np.zeros(0, np.int64))
        self._batches = {part: self._join(part[0], batches) for part, batches in self._stored(parts).items()}

    def _stored(self, parts: dict[_Part, list[Batch]]) -> dict[_Part, list[Batch]]:
        """Put further values behind the first ones, in one batch of a modality, and shift their rows."""
        stored: dict[_Part, list[Batch]] = {}
        for part in self._rows:
            home = _home(part)
            if part != home:
                shift = sum(len(batch) for batch in stored[home])
                self._rows[part] = np.where(self._rows[part] < 0, -1, self._rows[part] + shift)
            stored.setdefault(home, []).extend(parts.pop(part))
        return stored

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

    def rows_of(self, positions: np.ndarray) -> np.ndarray | None:
        """Return the rows of the records at positions of the source; None when one of them was never decoded here."""
        at = np.searchsorted(self._positions, positions, sorter=self._order)
        rows = self._order[np.minimum(at, len(self._order) - 1)] if len(self._order) else at
        return rows if len(rows) <= len(self._order) and np.array_equal(self._positions[rows], positions) else None

    def take(self, rows: np.ndarray, draw: tuple[object, ...] | None = None) -> RecordBatch | None:
        """Return the batch of the usable records among `rows`, in order, or None when there is none.

        Args:
            rows: of the cache.
            draw: what the draw of one of several values is a function of, such as seed and epoch; None gives all.
        """
        rows_B = rows if self._all_usable else rows[self._usable[rows]]
        if not len(rows_B):
            return None
        found = {part: row_of[rows_B] for part, row_of in self._rows.items()}
        if draw is not None:
            found = self._drawn(found, self._record_keys[rows_B], draw)
        present = {part: None if self._in_all[part] else presence(at_B >= 0) for part, at_B in found.items()}
        kept = {part: at_B if present[part] is None else at_B[present[part]] for part, at_B in found.items()}
        index_B, *indices = to_device([rows_B, *kept.values()], self._device)
        batches: dict[str, Batch] = {}
        ranked: dict[str, dict[str, list[RankedValues]]] = {_NEGATIVE: {}, _FURTHER: {}}
        for part, index_N in zip(kept, indices, strict=True):
            if not len(index_N):
                continue
            (name, kind, _), batch = part, self._select(self._batches[_home(part)], kept[part], index_N)
            if kind == _OWN:
                batches[name] = batch
            else:
                ranked[kind].setdefault(name, []).append(RankedValues(batch, present[part]))
        records = RecordBatch(
            [self._ids[row] for row in rows_B.tolist()],  # type: ignore[misc]
            batches,
            {name: here for (name, kind, _), here in present.items() if kind == _OWN},
            self._keys.changed(lambda packed_NK: self._rows_at(packed_NK, index_B)),
            self._positions[rows_B],
            ranked[_NEGATIVE],
            ranked[_FURTHER],
        )
        return descriptors_apart(records)

    def _drawn(
        self, found: dict[_Part, np.ndarray], keys_B: np.ndarray, draw: tuple[object, ...]
    ) -> dict[_Part, np.ndarray]:
        """Return the rows of one value of each record, in place of those of its first and further values."""
        chosen = {part: at_B for part, at_B in found.items() if part[1] != _FURTHER}
        for name in dict.fromkeys(name for name, kind, _ in found if kind == _FURTHER):
            own_B = found[name, _OWN, 0]
            ranks = [at_B for (of, kind, _), at_B in found.items() if of == name and kind == _FURTHER]
            rows_RB = np.stack([own_B, *ranks])
            counts_B = (rows_RB >= 0).sum(0)
            rank_B = drawn(np.maximum(counts_B, 1), keys_B, *draw, name)
            chosen[name, _OWN, 0] = np.take_along_axis(rows_RB, rank_B[None], axis=0)[0]
        return chosen

    def _select(self, batch: Batch, rows_N: np.ndarray, index_N: Tensor) -> Batch:
        """Return the examples of a batch at `rows_N`, int64 (N,), which `index_N` has on the batch's device."""
        if type(batch).select is Batch.select:
            return replace(batch, **{name: self._rows_at(x, index_N) for name, x in batch.tensors().items()})
        selected = batch.select(torch.from_numpy(rows_N))  # what such a batch knows on the host, it keeps there
        return selected.pin_memory() if self._pin else selected

    def _rows_at(self, x: Tensor, index_N: Tensor) -> Tensor:
        if not self._pin:
            return x[index_N]
        pinned = torch.empty((len(index_N), *x.shape[1:]), dtype=x.dtype, pin_memory=True)
        return torch.index_select(x, 0, index_N, out=pinned)


_KINDS = _OWN, _NEGATIVE, _FURTHER = "own", "negative", "further"
_Part = tuple[str, str, int]
"""A modality; `_OWN` for the first values of the records themselves, or else what the values are; their rank."""


def _home(part: _Part) -> _Part:
    """Return the part in whose batch the values of a part are."""
    return (part[0], _OWN, 0) if part[1] == _FURTHER else part


def _parts_of(records: RecordBatch) -> Iterator[tuple[_Part, Batch, Presence]]:
    """Iterate over the batches of a batch of records, each with which records have a value in it."""
    for name, batch in records.batches.items():
        yield (name, _OWN, 0), batch, records.present[name]
    for kind, ranked in ((_NEGATIVE, records.negatives), (_FURTHER, records.further)):
        for name, ranks in ranked.items():
            for rank, (batch, present) in enumerate(ranks):
                yield (name, kind, rank), batch, present


def _check_room(first: RecordBatch, count: int) -> None:
    """Stop before the machine swaps: the whole is estimated from the first chunk."""
    batches = [batch for _, batch, _ in _parts_of(first)]
    size = sum(t.numel() * t.element_size() for t in tree_leaves(batches) if isinstance(t, Tensor))
    needed = size / len(first) * count
    free = memory().free
    if needed > free:
        raise DataError(
            f"A cache of all {count} records would take about {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB of "
            "memory are free; set data.cache: off."
        )
