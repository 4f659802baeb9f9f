"""Records decoded once, in one file of a node that later batches are picked from, in training and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import torch

from sensorium.contracts.record_columns import Column
from sensorium.data.cache_share import FURTHER, KINDS, NEGATIVE, OWN, Part, Share, ShareWriter, uneven
from sensorium.data.decoding import Decoded
from sensorium.data.described import descriptors_apart
from sensorium.data.several import drawn
from sensorium.data.stored_batches import Shelf, picked
from sensorium.data.unnamed_file import MappedFile, UnnamedFile, of_node
from sensorium.devices import to_device
from sensorium.errors import DataError
from sensorium.parallel import collectives
from sensorium.parallel.rank_zero import on_every_rank
from sensorium.presence import presence
from sensorium.record_keys import RecordKeys
from sensorium.types import Batch, RankedValues, RecordBatch

T = TypeVar("T")


@dataclass(frozen=True)
class CachePlace:
    """Where decoded records are kept.

    Args:
        device: from which batches are picked; another than the CPU holds a copy of its own.
        pin: pick batches into page-locked memory, from which copies to a GPU need not wait.
        folder: of the file that the ranks of a node share; None for memory.
        together: whether all ranks fill it, each its share, and pick from one copy a node; otherwise this rank has
            it for itself.
    """

    device: torch.device = torch.device("cpu")  # noqa: RUF009
    pin: bool = False
    folder: str | None = None
    together: bool = False


def filled(
    chunks: Sequence[np.ndarray],
    decode: Callable[[Sequence[np.ndarray]], Iterable[tuple[np.ndarray, Decoded]]],
    positions: np.ndarray,
    ids: Column,
    place: CachePlace,
) -> Cache:
    """Decode records once and keep them; over several ranks a collective operation if the place says `together`.

    Args:
        chunks: the rows of the cache, cut into what is decoded at a time.
        decode: yields such chunks decoded, in order.
        positions: where the source has the records of all rows, int64 (N,), each once.
        ids: of the records, strings (N,).
        place: where they are kept.

    Raises:
        DataError: on every rank, when they do not fit, or batches of a modality differ in shape from chunk to chunk.
    """
    one = on_every_rank if place.together else _call
    with closing(one(UnnamedFile, place.folder)) as file:
        addresses = of_node(file) if place.together else {collectives.rank(): file.address()}
        cuts = np.array_split(np.arange(len(chunks)), len(addresses))
        spans = [(chunks[cut[0]][0], chunks[cut[-1]][-1] + 1) if len(cut) else (0, 0) for cut in cuts]
        own = list(addresses).index(collectives.rank())

        def write() -> Share:
            start, stop = spans[own]
            writer = ShareWriter(file, stop - start, len(positions), place.folder)
            for rows, made in decode([chunks[at] for at in cuts[own]]):
                writer.add(rows - start, made)
            return writer.finish()

        share = one(write)
        shares = collectives.all_gather_objects(share) if place.together else [share]
        shares = [shares[rank] for rank in addresses] if place.together else shares
        files = one(lambda: [file.map() if at == own else there.map() for at, there in enumerate(addresses.values())])
        counts = [stop - start for start, stop in spans]
        return Cache(list(zip(shares, files, counts, strict=True)), positions, ids, place)


def _call(function: Callable[..., T], *args: object) -> T:
    return function(*args)


class Cache:
    """Decoded records, from which batches are picked.

    Args:
        shares: where they are, share by share in the order of rows: what a file has of how many records.
        positions: where the source has the records of all rows, int64 (N,), each once.
        ids: of the records, strings (N,).
        place: where they are kept.

    Raises:
        DataError: when batches of a modality differ in shape from share to share, or do not fit on the device.
    """

    def __init__(
        self, shares: Sequence[tuple[Share, MappedFile, int]], positions: np.ndarray, ids: Column, place: CachePlace
    ) -> None:
        self._device, self._pin = place.device, place.pin
        self._positions, self._order, self._ids = positions, np.argsort(positions), ids
        self._usable = np.concatenate([file.array(share.usable) for share, file, _ in shares])
        self._all_usable = bool(self._usable.all())
        keys_of = _joined_keys(shares)
        self._record_keys = keys_of.get("record", np.zeros(0, np.int64))
        packed_NK = np.stack(list(keys_of.values()), axis=1) if keys_of else np.zeros((len(positions), 0), np.int64)
        self._keys = RecordKeys(tuple(keys_of), *to_device([packed_NK], self._device))
        parts = {part for share, _, _ in shares for part in share.rows}
        self._rows: dict[Part, np.ndarray] = {}
        on_shelf: dict[Part, list[Batch]] = {}
        for part in sorted(parts, key=lambda part: (KINDS.index(part[1]), part[2])):
            on = on_shelf.setdefault(_home(part), [])
            self._rows[part] = _place(part, shares, on)
        self._in_all = {part: bool((rows >= 0)[self._usable].all()) for part, rows in self._rows.items()}
        self._shelves = {part: self._shelf(part[0], on) for part, on in on_shelf.items()}

    def _shelf(self, name: str, batches: list[Batch]) -> Shelf:
        try:
            return Shelf(batches, self._pin).on(self._device)
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
        ranked: dict[str, dict[str, list[RankedValues]]] = {NEGATIVE: {}, FURTHER: {}}
        for part, index_N in zip(kept, indices, strict=True):
            if not len(index_N):
                continue
            (name, kind, _), batch = part, self._shelves[_home(part)].take(kept[part], index_N)
            if kind == OWN:
                batches[name] = batch
            else:
                ranked[kind].setdefault(name, []).append(RankedValues(batch, present[part]))
        records = RecordBatch(
            self._ids.take(pa.array(rows_B)).to_pylist(),
            batches,
            {name: here for (name, kind, _), here in present.items() if kind == OWN},
            self._keys.changed(lambda packed_NK: picked(packed_NK, index_B, self._pin)),
            self._positions[rows_B],
            ranked[NEGATIVE],
            ranked[FURTHER],
        )
        return descriptors_apart(records)

    def _drawn(
        self, found: dict[Part, np.ndarray], keys_B: np.ndarray, draw: tuple[object, ...]
    ) -> dict[Part, np.ndarray]:
        """Return the rows of one value of each record, in place of those of its first and further values."""
        chosen = {part: at_B for part, at_B in found.items() if part[1] != FURTHER}
        for name in dict.fromkeys(name for name, kind, _ in found if kind == FURTHER):
            own_B = found[name, OWN, 0]
            ranks = [at_B for (of, kind, _), at_B in found.items() if of == name and kind == FURTHER]
            rows_RB = np.stack([own_B, *ranks])
            counts_B = (rows_RB >= 0).sum(0)
            rank_B = drawn(np.maximum(counts_B, 1), keys_B, *draw, name)
            chosen[name, OWN, 0] = np.take_along_axis(rows_RB, rank_B[None], axis=0)[0]
        return chosen


def _home(part: Part) -> Part:
    """Return the part on whose shelf the values of a part are: further values stand beside the first."""
    return (part[0], OWN, 0) if part[1] == FURTHER else part


def _place(part: Part, shares: Sequence[tuple[Share, MappedFile, int]], shelf: list[Batch]) -> np.ndarray:
    """Put the examples of a part on a shelf; return where each record has its own there, int64 (N,), -1 for none."""
    rows, start = [], sum(map(len, shelf))
    for share, file, count in shares:
        row_of = share.host(file, share.rows.get(part), count)
        rows.append(np.where(row_of < 0, -1, row_of + start))
        batches = [stored.read(file) for stored in share.batches.get(part, [])]
        if batches and shelf and shelf[0].shape_key() != batches[0].shape_key():
            raise DataError(uneven(part))
        shelf += batches
        start += sum(map(len, batches))
    return np.concatenate(rows)


def _joined_keys(shares: Sequence[tuple[Share, MappedFile, int]]) -> dict[str, np.ndarray]:
    """Return the keys of all records by name, int64 (N,)."""
    names = list(dict.fromkeys(name for share, _, _ in shares for name in share.keys))
    keys_of = {
        name: np.concatenate([share.host(file, share.keys.get(name), count) for share, file, count in shares])
        for name in names
    }
    for keys_N in keys_of.values():  # of a label that a record's whole chunk lacks: the record's own
        np.copyto(keys_N, keys_of["record"], where=keys_N < 0)
    return keys_of
