"""Cells of packed records: what a source's raw values become, on loader workers."""

from __future__ import annotations

import inspect
import logging
import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch

from sensorium.contracts import Modality, Source
from sensorium.data.decoding import Decoded, RecordDecoder, readable
from sensorium.data.packed_values import Unstorable, packed
from sensorium.data.patience import Patience
from sensorium.data.several import FILE, values_of
from sensorium.data.unreadable import UnreadableValue
from sensorium.errors import BadSample, DataError, PluginError, SensoriumError, as_bad_sample
from sensorium.types import Record

log = logging.getLogger("sensorium")


class File(NamedTuple):
    """The bytes of a file.

    Args:
        bytes: all of them.
        path: its name where it was found, which tells its kind; None where it had none.
    """

    bytes: bytes
    path: str | None = None


Cell: TypeAlias = str | File
"""A value as it is packed: a text, or a file."""


@dataclass(frozen=True)
class Encoding:
    """What is packed of the values of some modalities: their decoded examples.

    Args:
        modalities: names of these modalities.
        quality: of what is stored with a loss, 1 to 100; None stores without one.
    """

    modalities: frozenset[str] = frozenset()
    quality: int | None = None

    @classmethod
    def of(cls, modalities: Mapping[str, Modality], quality: int | None) -> Encoding:
        """Return the encoding of all modalities that have one; the others are named in the log.

        Raises:
            DataError: when none takes a quality.
        """
        able = {name: one for name, one in modalities.items() if one.has_encoding()}
        if left := [name for name in modalities if name not in able]:
            log.warning("the values of %s are packed as they are: a training decodes them", ", ".join(left))
        if quality is not None and not any(_takes_quality(modality) for modality in able.values()):
            raise DataError(f"What is packed of {', '.join(modalities)} is stored without loss: leave quality out.")
        return cls(frozenset(able), quality)

    def encoded(self, modality: Modality, raw: Any) -> Any:
        """Return a raw value that decodes to the example that this one decodes to."""
        example = modality.decode(raw)
        if self.quality is None or not _takes_quality(modality):
            return modality.encode(example)
        return modality.encode(example, quality=self.quality)  # type: ignore[call-arg]


def _takes_quality(modality: Modality) -> bool:
    return "quality" in inspect.signature(modality.encode).parameters


@dataclass
class PackedRecords:
    """What a worker makes of n records.

    Args:
        positions: int64 (n,), where the source has those that can be used.
        cells: for each of them, its values by field.
        sizes: bytes of the raw values of each.
        read: how many records were read, usable or not.
        bad: the values that could not be read.
        failure: what stopped the reading.
    """

    positions: list[int] = field(default_factory=list)
    cells: list[dict[str, list[Cell]]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    read: int = 0
    bad: list[UnreadableValue] = field(default_factory=list)
    failure: SensoriumError | None = None


class RecordPacker(torch.utils.data.Dataset[PackedRecords]):
    """Makes cells of the records of a source.

    Args:
        source: where the records come from.
        fields: modality name -> the source's field with its raw values.
        modalities: modality name -> modality.
        encoding: which of them are decoded.
        patience: with the store of the source.
    """

    def __init__(
        self,
        source: Source,
        fields: Mapping[str, str],
        modalities: Mapping[str, Modality],
        encoding: Encoding,
        patience: Patience,
    ) -> None:
        self._decoder = RecordDecoder(source, fields, modalities, patience=patience)
        self._encoding = encoding

    def __getitem__(self, positions: Sequence[int] | np.ndarray) -> PackedRecords:
        """Return the cells of the records at positions of the source, int64 (n,)."""
        found, made = PackedRecords(read=len(positions)), Decoded()
        try:
            for position, record in self._decoder.read([int(position) for position in positions], made):
                if record is not None:
                    self._add(position, record, found, made)
        except SensoriumError as error:
            error.add_note(traceback.format_exc())
            found.failure = error
        found.bad = made.bad
        return found

    def _add(self, position: int, record: Record, found: PackedRecords, made: Decoded) -> None:
        cells: dict[str, list[Cell]] = {}
        size = 0
        for name, column in self._decoder.fields.items():
            for raw in values_of(record.values.get(column)):
                try:
                    cell = self._decoder.patience.read(partial(self._cell, name, raw), lambda: record.id)
                    size += len(cell.bytes if isinstance(cell, File) else cell.encode())
                    if name in self._encoding.modalities:
                        cell = self._encoded(name, raw)
                    cells.setdefault(column, []).append(cell)
                except (BadSample, FileNotFoundError, PermissionError, IsADirectoryError) as error:
                    where = self._decoder.source.locate(position, column)
                    made.bad.append(UnreadableValue.of(as_bad_sample(error), record.id, position, name, where))
                except Unstorable as error:
                    raise DataError(
                        f"The field '{column}' of record '{record.id}' cannot be packed: {error}; hand in text, bytes, "
                        "arrays, or mappings of them."
                    ) from error
        if cells:
            found.positions.append(position)
            found.cells.append(cells)
            found.sizes.append(size)

    def _cell(self, name: str, raw: Any) -> Cell:
        modality = self._decoder.modalities[name]
        value = readable(raw, modality, self._decoder.source)
        is_path = modality.reads_files and isinstance(raw, str | os.PathLike)
        cell = File(Path(value).read_bytes(), str(raw)) if is_path else cell_of(value)
        if isinstance(cell, File) and not cell.bytes:
            raise BadSample("the file is empty", "empty")
        return cell

    def _encoded(self, name: str, raw: Any) -> Cell:
        modality = self._decoder.modalities[name]
        try:
            return cell_of(self._encoding.encoded(modality, readable(raw, modality, self._decoder.source)))
        except (SensoriumError, BadSample, OSError, Unstorable):
            raise
        except Exception as error:
            raise PluginError(f"The modality '{name}' failed to encode: {type(error).__name__}: {error}.") from error


def cell_of(value: Any) -> Cell:
    """Return a value as a cell: a text, or the bytes of a file.

    Raises:
        OSError: when a file cannot be read.
        Unstorable: when it is nothing that can be stored.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return File(bytes(value))
    if isinstance(value, Mapping) and value.keys() == FILE:
        data, path = value["bytes"], value["path"]
        return File(Path(path).read_bytes() if data is None else bytes(data), path)
    return File(packed(value))
