"""What one process decodes into a cache: its share of the records, written to a file that the others map."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sensorium.data.decoding import Decoded
from sensorium.data.memory import Space, memory
from sensorium.data.stored_batches import BatchWriter, StoredBatch, size_of
from sensorium.data.unnamed_file import MappedFile, Stored, UnnamedFile
from sensorium.errors import DataError
from sensorium.presence import Presence
from sensorium.types import Batch, RecordBatch

KINDS = OWN, NEGATIVE, FURTHER = "own", "negative", "further"
Part = tuple[str, str, int]
"""A modality; `OWN` for the first values of the records themselves, or else what the values are; their rank."""


@dataclass
class Share:
    """Where a file has a share of the records of a cache.

    Args:
        usable: bool (n,), which of its n records can be used.
        keys: name -> int64 (n,), what records are recognized by, -1 where nothing says.
        rows: part -> int64 (n,), the number of each record's example among those of the part, -1 where it has none.
        batches: part -> the examples.
    """

    usable: Stored
    keys: dict[str, Stored]
    rows: dict[Part, Stored]
    batches: dict[Part, list[StoredBatch]]

    def host(self, file: MappedFile, stored: Stored | None, count: int) -> np.ndarray:
        """Return an array of the share, -1 everywhere where it has none."""
        return np.full(count, -1, np.int64) if stored is None else np.asarray(file.array(stored))


class ShareWriter:
    """Writes a share of the records of a cache as they are decoded.

    Args:
        file: what they are written to.
        count: records of the share.
        of: records of all shares together.
        folder: where the cache is; None for memory.
    """

    def __init__(self, file: UnnamedFile, count: int, of: int, folder: str | Path | None = None) -> None:
        self._file, self._count, self._of, self._folder = file, count, of, folder
        self._usable = np.zeros(count, bool)
        self._keys: dict[str, np.ndarray] = {}
        self._rows: dict[Part, np.ndarray] = {}
        self._writers: dict[Part, BatchWriter] = {}
        self._size, self._seen = 0, 0

    def add(self, covered: np.ndarray, made: Decoded) -> None:
        """Write the decoded records of some rows of the share.

        Raises:
            DataError: when all records will not fit, or batches of a modality differ in shape.
        """
        self._seen += len(covered)
        if made.records is None:
            return
        self._require_room(made.records)
        kept = covered[made.kept]
        self._usable[kept] = True
        for name, keys in made.records.keys.items():
            if name not in self._keys:
                self._keys[name] = np.full(self._count, -1, np.int64)
            self._keys[name][kept] = keys.numpy()
        for part, batch, present in _parts_of(made.records):
            if part not in self._writers:
                self._writers[part] = BatchWriter(self._file, self._count)
                self._rows[part] = np.full(self._count, -1, np.int64)
            writer, rows = self._writers[part], self._rows[part]
            start = writer.count
            if not writer.add(batch):
                raise DataError(uneven(part))
            rows[kept if present is None else kept[present]] = np.arange(start, writer.count)

    def finish(self) -> Share:
        """Write what is left, and return where everything is."""
        return Share(
            self._file.store(self._usable),
            {name: self._file.store(keys_N) for name, keys_N in self._keys.items()},
            {part: self._file.store(rows_N) for part, rows_N in self._rows.items()},
            {part: writer.stored() for part, writer in self._writers.items()},
        )

    def _require_room(self, records: RecordBatch) -> None:
        """Stop before the machine swaps or a process is killed: what is to come is estimated from what there was."""
        self._size += size_of([batch for _, batch, _ in _parts_of(records)])
        needed = self._size / self._seen * self._of
        still = needed * (1 - (self._seen - len(records)) / self._count)
        space = memory() if self._folder is None else _space_in(self._folder)
        if still <= space.free:
            return
        size, free, total = (f"{number / 1e9:,.1f} GB" for number in (needed, space.free, space.total))
        if self._folder is None:
            where, advice = f"{free} of the {total} of memory are free", "disk, or off"
        else:
            where, advice = f"{free} are free in {self._folder}", "off, or name a larger folder in data.cache_dir"
        raise DataError(
            f"A cache of all {self._of:,} records would take about {size}, but {where}; set data.cache: {advice}."
        )


def uneven(part: Part) -> str:
    """Return the sentence about batches that cannot be joined."""
    return f"The modality '{part[0]}' makes batches of different shapes, which cannot be cached; set data.cache: off."


def _parts_of(records: RecordBatch) -> Iterator[tuple[Part, Batch, Presence]]:
    """Iterate over the batches of a batch of records, each with which records have a value in it."""
    for name, batch in records.batches.items():
        yield (name, OWN, 0), batch, records.present[name]
    for kind, ranked in ((NEGATIVE, records.negatives), (FURTHER, records.further)):
        for name, ranks in ranked.items():
            for rank, (batch, present) in enumerate(ranks):
                yield (name, kind, rank), batch, present


def _space_in(folder: str | Path) -> Space:
    usage = shutil.disk_usage(folder)
    return Space(usage.total, usage.free)
