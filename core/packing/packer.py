"""Packing a source: read once by all cores, written shard by shard, continued where it was stopped."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sensorium.checking.subject import Subject
from sensorium.contracts import RecordColumns
from sensorium.data.loader import from_workers, worker_count
from sensorium.data.patience import Patience
from sensorium.data.unreadable import UnreadableRecords
from sensorium.errors import DataError
from sensorium.packing.cells import Cell, Encoding, PackedRecords, RecordPacker
from sensorium.packing.layout import Layout
from sensorium.packing.manifest import Manifest, Shard
from sensorium.packing.shards import FORMS, Shards, checksum
from sensorium.runs.atomic import sweep

log = logging.getLogger("sensorium")
CHUNK = 32
"""Records that a worker reads at a time."""
SAMPLE = 256
"""Records, evenly spaced, that tell what the columns are to hold."""
UNREADABLE = "unreadable.csv"
TOGETHER = 1 << 16
"""Ids that are hashed at a time."""
FEW = 256
"""So few records are read by this process alone, sooner than workers would start."""


@dataclass(frozen=True)
class PackResult:
    """What was packed.

    Args:
        folder: of the shards.
        source: the name of the source that reads them, and its options, as a recipe has them.
        records: how many records they have.
        left_out: how many could not be read.
        shards: how many there are.
        before: bytes of the raw values.
        after: bytes of the shards.
        seconds: how long it took, this time.
        read: records read in that time.
    """

    folder: Path
    source: dict[str, Any]
    records: int
    left_out: int
    shards: int
    before: int
    after: int
    seconds: float
    read: int


class _Widened(Exception):
    """A record has more, or something else, than its columns hold.

    Args:
        layout: that takes it.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout


class Packer:
    """Packs the records of a source.

    Args:
        subject: the records, and what reads them.
        folder: to write.
        form: of the shards (see `FORMS`).
        shard_bytes: of a shard, about.
        encoding: what is decoded.

    Raises:
        DataError: when the folder has something else than the same pack, begun before.
    """

    def __init__(self, subject: Subject, folder: Path, form: str, shard_bytes: int, encoding: Encoding) -> None:
        self.subject, self.folder, self.form, self.shard_bytes = subject, folder, form, shard_bytes
        self.keys: RecordColumns = subject.source.columns()
        data = subject.data
        self._patience = Patience(data.retries, data.timeout)
        self._rows = RecordPacker(subject.source, subject.fields, subject.modalities, encoding, self._patience)
        self.identity = {
            "ids": _fingerprint(self.keys),
            "fields": dict(subject.fields),
            "modalities": dict(subject.kinds),
            "decoded": sorted(encoding.modalities),
            "quality": encoding.quality,
            "shard_bytes": shard_bytes,
        }
        if encoding.modalities:  # what their options are is in what is written
            options = {name: subject.modality_options.get(name, {}) for name in sorted(encoding.modalities)}
            self.identity["options"] = json.loads(json.dumps(options, default=str))
        self.bad = UnreadableRecords(len(subject.source), data.max_bad, folder / UNREADABLE, options=subject.options)

    def run(self, progress: Callable[[int, int], None] | None = None) -> PackResult:
        """Write what is not written yet.

        Args:
            progress: called with the number of records read so far, and of all.

        Raises:
            SensoriumError: when too many records are unreadable, or a value cannot be stored.
        """
        begun = time.perf_counter()
        manifest = self._begun()
        start = manifest.stop
        while not manifest.finished:
            try:
                manifest = self._continued(manifest, progress)
            except _Widened as wider:  # rare: no sampled record was like it
                log.info("a record has more, or other, values than %d sampled ones; packing begins anew", SAMPLE)
                self._shards(manifest).keep(0, 0)
                manifest, start = replace(manifest, layout=wider.layout, shards=()), 0
                manifest.write(self.folder)
        seconds = time.perf_counter() - begun
        return PackResult(
            self.folder,
            source_of(self.folder, manifest),
            manifest.records,
            manifest.count - manifest.records,
            len(manifest.shards),
            sum(shard.before for shard in manifest.shards),
            manifest.bytes,
            seconds,
            manifest.count - start,
        )

    def _begun(self) -> Manifest:
        """Return the manifest of the pack that the folder has, cut back to whole shards, or of a new one."""
        manifest = Manifest.read(self.folder)
        if manifest is None:
            if self.folder.exists() and any(self.folder.iterdir()):
                raise DataError(f"'{self.folder}' is not empty, and no pack was begun in it: name another folder.")
            self.folder.mkdir(parents=True, exist_ok=True)
            manifest = Manifest(self.form, self.identity, self._sampled(), len(self.subject.source))
            manifest.write(self.folder)
            return manifest
        if (manifest.form, manifest.source) != (self.form, self.identity):
            was, now = {**manifest.source, "form": manifest.form}, {**self.identity, "form": self.form}
            changed = next(name for name in now if was.get(name) != now[name])
            shown = "other records" if changed == "ids" else f"{changed} {was.get(changed)}, not {now[changed]}"
            raise DataError(
                f"'{self.folder}' has a pack of {shown}: name another folder, or delete this one to pack anew."
            )
        sweep(self.folder)
        if not manifest.finished:
            self._shards(manifest).keep(len(manifest.shards), manifest.records)
            if manifest.stop:
                log.info("goes on at record %s of %s", f"{manifest.stop:,}", f"{manifest.count:,}")
        return manifest

    def _sampled(self) -> Layout:
        """Return the layout that a sample of the records needs."""
        count = len(self.subject.source)
        found = self._rows[np.arange(count)[:: max(count // SAMPLE, 1)]]
        if found.failure is not None:
            raise found.failure
        layout = Layout.of(list(dict.fromkeys(self.subject.fields.values())), self.keys, FORMS[self.form].column_name)
        for cells in found.cells:
            layout = layout.widened(cells)
        return layout

    def _continued(self, manifest: Manifest, progress: Callable[[int, int], None] | None) -> Manifest:
        shards, layout = self._shards(manifest), manifest.layout
        positions: list[int] = []
        rows: list[Mapping[str, list[Cell]]] = []
        size = before = 0
        done = manifest.stop

        def write() -> Manifest:
            at = np.array(positions, np.int64)
            files = shards.write(len(manifest.shards), layout.table(at, self.keys, rows), at) if rows else []
            sizes = sum((self.folder / file).stat().st_size for file in files)
            extensions = {field: list(endings) for field, endings in shards.extensions.items()}
            checksums = {file: checksum(self.folder / file) for file in files}
            return manifest.with_shard(Shard(done, len(rows), sizes, before, checksums, extensions))

        with closing(self._read(done, manifest.count)) as read:
            for found in read:
                done += found.read
                for position, cells, of_record in zip(found.positions, found.cells, found.sizes, strict=True):
                    if (wider := layout.widened(cells)) is not layout:
                        raise _Widened(wider)
                    positions.append(position)
                    rows.append(cells)
                    size, before = size + _size(cells), before + of_record
                if size >= self.shard_bytes:
                    manifest = write()
                    manifest.write(self.folder)
                    positions, rows, size, before = [], [], 0, 0
                if progress is not None:
                    progress(done, manifest.count)
        if rows or not manifest.shards:
            manifest = write()
        if not manifest.records:
            raise DataError("None of the records can be read: nothing is packed.")
        manifest = replace(manifest, finished=True)
        manifest.write(self.folder)
        return manifest

    def _read(self, start: int, stop: int) -> Generator[PackedRecords, None, None]:
        """Iterate over the records from a position on; count what is unreadable."""
        pieces = [range(at, min(at + CHUNK, stop)) for at in range(start, stop, CHUNK)]
        workers = 0 if stop - start <= FEW else worker_count(self.subject.data.workers)
        for found in from_workers(self._rows, pieces, workers, self.subject.source, self._patience.timeout):
            for value in found.bad:
                self.bad.add(value)
            if found.failure is not None:
                raise found.failure
            yield found
        self.bad.end_of_pass()

    def _shards(self, manifest: Manifest) -> Shards:
        return shards_of(self.folder, manifest)


def shards_of(folder: Path, manifest: Manifest) -> Shards:
    """Return the shards of a pack."""
    extensions = manifest.shards[-1].extensions if manifest.shards else {}
    return FORMS[manifest.form](folder, manifest.layout, extensions)


def source_of(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """Return the name of the source that reads a pack, and its options."""
    return {"name": manifest.form, **shards_of(folder, manifest).options()}


def _size(cells: Mapping[str, list[Cell]]) -> int:
    return sum(
        len(cell) if isinstance(cell, str) else len(cell.bytes) for of_field in cells.values() for cell in of_field
    )


def _fingerprint(keys: RecordColumns) -> str:
    """Return a hash of the ids of all records, in order."""
    digest = hashlib.sha256(str(len(keys)).encode())
    if keys.ids is not None:
        for start in range(0, len(keys), TOGETHER):
            digest.update("\0".join(keys.ids.slice(start, TOGETHER).to_pylist()).encode())
    return digest.hexdigest()[:32]
