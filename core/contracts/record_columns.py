"""What a source says of all its records at once, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any, Self, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts.text_hashes import first_duplicate
from sensorium.errors import DataError
from sensorium.types import Record, Span

Column: TypeAlias = pa.Array | pa.ChunkedArray
PIECE = 2**20
"""Records that are hashed at a time."""


@dataclass(frozen=True)
class RecordColumns:
    """Ids, labels, splits, groups and times of N records, as Arrow columns: what `Source.key` says of one.

    A few bytes a record and no Python object, so that tens of millions of records cost little. A null is what None is
    in a `Record`.

    Args:
        count: N.
        ids: strings (N,), unique; None where the id of a record is its position, in decimal digits.
        labels: name -> numbers, booleans or strings (N,), dictionary-encoded or not; where a label is now one, now
            another of these, a dictionary of a dense union.
        splits: strings (N,), "train", "val" or "test"; None where the source names none.
        groups: strings (N,); None where every record is a group of its own.
        first: time stamps of the first steps of records (N,), numbers or timestamps; None where there are none.
        last: those of their last steps.

    Raises:
        DataError: when a column has another length.
    """

    count: int
    ids: Column | None = None
    labels: Mapping[str, Column] = field(default_factory=dict)
    splits: Column | None = None
    groups: Column | None = None
    first: Column | None = None
    last: Column | None = None

    def __post_init__(self) -> None:
        for name in ("ids", "splits", "groups"):
            object.__setattr__(self, name, _without_view(getattr(self, name)))
        object.__setattr__(self, "labels", {name: _without_view(column) for name, column in self.labels.items()})
        for name, column in self._named():
            if len(column) != self.count:
                raise DataError(f"The column of {name} has {len(column):,} entries for {self.count:,} records.")

    def __len__(self) -> int:
        return self.count

    def key(self, index: int) -> Record:
        """Return the record at a position without its values."""
        if not -self.count <= index < self.count:
            raise IndexError(f"there are {self.count} records, none at {index}")
        at = index % self.count
        labels = {name: cell for name, column in self.labels.items() if (cell := _cell(column, at)) is not None}
        first, last = _cell(self.first, at), _cell(self.last, at)
        time = None if first is None or last is None else Span(first, last)
        id = str(at) if self.ids is None else _cell(self.ids, at)
        return Record(id, {}, labels, _cell(self.splits, at), _cell(self.groups, at), time)

    def records(self) -> list[Record]:
        """Return all records without their values, as `key` returns one: for some thousands of them."""
        count, ids = self.count, self.id_column().to_pylist()
        cells = {name: _cells(column, count) for name, column in self.labels.items()}
        splits, groups, times = _cells(self.splits, count), _cells(self.groups, count), self.times()
        return [
            Record(
                ids[at],
                {},
                {name: of_label[at] for name, of_label in cells.items() if of_label[at] is not None},
                splits[at],
                groups[at],
                times[at],
            )
            for at in range(count)
        ]

    def times(self) -> list[Span | None]:
        """Return the time stamps of all records."""
        both = zip(_cells(self.first, self.count), _cells(self.last, self.count), strict=True)
        return [None if first is None or last is None else Span(first, last) for first, last in both]

    def positions_of(self, ids: Column) -> np.ndarray:
        """Return where the records with these ids, strings (M,), are: int64 (M,), -1 for those that are not there."""
        if self.ids is None:
            wanted = ids.cast(pa.string())
            is_number = pc.match_substring_regex(wanted, "^(0|[1-9][0-9]{0,17})$")
            numbers = pc.if_else(is_number, wanted, "-1").cast(pa.int64())
            return np.where((found_M := _flat(numbers)) < self.count, found_M, -1)
        values = self.ids.cast(ids.type) if self.ids.type != ids.type else self.ids
        return _flat(pc.fill_null(pc.index_in(ids, value_set=values), -1)).astype(np.int64)

    @cached_property
    def duplicate_id(self) -> str | None:
        """The first id that two records have, or None: seconds for tens of millions, once."""
        return None if self.ids is None else first_duplicate(self.ids)

    @cached_property
    def numbered_groups(self) -> tuple[Column, np.ndarray]:
        """The names of the groups, strings (G,), in the order in which they first come, and the number of each
        record's (N,): -1 for a record without one. Each record is its own, called by its id, where there are none."""
        return (self.id_column(), np.arange(self.count)) if self.groups is None else numbered(self.groups)

    def group_numbers(self) -> np.ndarray:
        """Return a number for each record, int64 (N,), equal in a group; a record without one has its own."""
        _, number_N = self.numbered_groups
        return np.where(number_N < 0, self.count + np.arange(self.count), number_N)

    def ids_at(self, positions: np.ndarray) -> list[str]:
        """Return the ids of the records at positions, int64 (M,)."""
        return self.id_column(positions).to_pylist()

    def id_column(self, positions: np.ndarray | None = None) -> Column:
        """Return the ids of the records at positions, int64 (M,), as strings (M,); of all without positions."""
        if self.ids is None:
            numbers = np.arange(self.count) if positions is None else positions
            return pa.array(numbers).cast(pa.string())
        return self.ids if positions is None else self.ids.take(pa.array(positions))

    def take(self, positions: np.ndarray) -> Self:
        """Return the columns of the records at positions, int64 (M,)."""
        at = pa.array(positions)

        def taken(column: Column | None) -> Any:
            return None if column is None else column.take(at)

        return type(self)(
            len(positions),
            self.id_column(positions),
            {name: taken(column) for name, column in self.labels.items()},
            *map(taken, (self.splits, self.groups, self.first, self.last)),
        )

    def fingerprint(self) -> str:
        """Return a hash of all columns, 32 hexadecimal digits: about a second for a gigabyte.

        It is the same however the columns are cut into chunks, and whether they are dictionaries.
        """
        found = blake2b(f"{self.count}".encode(), digest_size=16)
        for name, column in self._named():
            found.update(f"\0{name}\0".encode())
            for start in range(0, self.count, PIECE):
                for part in _canonical_bytes(column.slice(start, PIECE)):
                    found.update(part)
        return found.hexdigest()

    @classmethod
    def of_keys(cls, keys: Iterable[Record]) -> Self:
        """Return the columns of records, whose values are not looked at.

        Raises:
            DataError: for a label that is neither a number nor a word.
        """
        keys = list(keys)
        names = dict.fromkeys(name for key in keys for name in key.labels)
        times = any(key.time is not None for key in keys)
        return cls(
            len(keys),
            pa.array([key.id for key in keys], pa.string()),
            {name: label_column(name, [key.labels.get(name) for key in keys]) for name in names},
            _strings([key.split for key in keys]),
            _strings([key.group for key in keys]),
            _times([None if key.time is None else key.time.first for key in keys]) if times else None,
            _times([None if key.time is None else key.time.last for key in keys]) if times else None,
        )

    def _named(self) -> list[tuple[str, Column]]:
        own = {"ids": self.ids, "splits": self.splits, "groups": self.groups, "first": self.first, "last": self.last}
        found = [(name, column) for name, column in own.items() if column is not None]
        return found + [(f"the label '{name}'", column) for name, column in self.labels.items()]


def _without_view(column: Any) -> Any:
    """Return a column, string views as strings: few functions of Arrow take views."""
    is_view = column is not None and pa.types.is_string_view(column.type)
    return column.cast(pa.large_string()) if is_view else column


def is_mixed(kind: pa.DataType) -> bool:
    """Whether the cells of an Arrow type are numbers in one record and strings in another."""
    return pa.types.is_dictionary(kind) and pa.types.is_union(kind.value_type)


def numbered(column: Column) -> tuple[pa.Array, np.ndarray]:
    """Return the K distinct values of a column, in the order in which they first come, and the number of each (N,).

    A null has the number -1.
    """
    if isinstance(column, pa.ChunkedArray):  # strings may be too many for offsets of 32 bits
        column = (column.cast(pa.large_string()) if pa.types.is_string(column.type) else column).combine_chunks()
    if not pa.types.is_dictionary(column.type):
        encoded = column.dictionary_encode()
        return encoded.dictionary, encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    if not is_mixed(column.type):  # a dictionary has an order of its own, and may have values that no record has
        return numbered(column.cast(column.type.value_type))
    used = column.indices.dictionary_encode()
    return column.dictionary.take(used.dictionary), used.indices.fill_null(-1).to_numpy(zero_copy_only=False)


def _canonical_bytes(column: Column) -> Iterator[Any]:
    """Yield the bytes of a column's cells: which are there, and their lengths or their values."""
    if is_mixed(column.type):
        values, number_N = numbered(column)
        yield repr(values.to_pylist()).encode()
        yield number_N.astype(np.int64)
        return
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    yield column.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_null(column.type):
        return
    if not pa.types.is_primitive(column.type):  # strings, and decimals as such
        column = pc.fill_null(column.cast(pa.large_string()), "")
        yield pc.binary_length(column).to_numpy(zero_copy_only=False)
        for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
            _, offsets, text = chunk.buffers()
            first, last = np.frombuffer(offsets, np.int64)[[chunk.offset, chunk.offset + len(chunk)]].tolist()
            yield b"" if text is None else text.slice(first, last - first)
        return
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64())
    yield f"{column.type}".encode()
    yield np.ascontiguousarray(pc.fill_null(column, 0).to_numpy(zero_copy_only=False))


def _cell(column: Column | None, index: int) -> Any:
    """Return a cell as Python has it, None for a null; a time stamp as NumPy has it."""
    if column is None:
        return None
    if pa.types.is_timestamp(column.type):
        cell = column.slice(index, 1).to_numpy(zero_copy_only=False)[0]
        return None if np.isnat(cell) else cell
    return column[index].as_py()


def _cells(column: Column | None, count: int) -> list[Any]:
    """Return all cells of a column, each as `_cell` returns one; None for each of so many without a column."""
    if column is None:
        return [None] * count
    if pa.types.is_timestamp(column.type):
        return [None if np.isnat(stamp) else stamp for stamp in column.to_numpy(zero_copy_only=False)]
    return column.to_pylist()


def _flat(column: Column) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()


def _strings(cells: Sequence[str | None]) -> Column | None:
    return None if all(cell is None for cell in cells) else pa.array(cells, pa.string())


def _times(stamps: Sequence[Any]) -> Column:
    """Return time stamps as nanoseconds, or as the numbers they are."""
    if any(isinstance(stamp, np.datetime64) for stamp in stamps):
        return pa.array(np.array([np.datetime64("NaT") if s is None else s for s in stamps], "datetime64[ns]"))
    return pa.array([stamp.item() if isinstance(stamp, np.generic) else stamp for stamp in stamps])


def label_column(name: str, cells: Sequence[Any]) -> Column:
    """Return a label of N records as a column: numbers, booleans or words, None where one has none.

    Raises:
        DataError: for a cell that is neither.
    """
    if isinstance(cells, np.ndarray) and cells.ndim == 1 and cells.dtype.kind in "biuf":
        return pa.array(cells)
    plain = [cell.item() if hasattr(cell, "item") and getattr(cell, "ndim", 1) == 0 else cell for cell in cells]
    try:
        return pa.array(plain)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        other = next((cell for cell in plain if not isinstance(cell, bool | int | float | str | None)), None)
        if other is not None:
            raise DataError(
                f"The label '{name}' is of the type {type(other).__name__}: labels are numbers, booleans or words."
            ) from None
        return _mixed(plain)


def _mixed(cells: Sequence[Any]) -> pa.DictionaryArray:
    """Return cells of several types as numbers of their distinct values, which stand in a union of these types."""
    values = list(dict.fromkeys((type(cell), cell) for cell in cells if cell is not None))
    kinds = list(dict.fromkeys(kind for kind, _ in values))
    of_kind = {kind: [value for of, value in values if of is kind] for kind in kinds}
    kind_K = np.array([kinds.index(kind) for kind, _ in values], np.int8)
    offset_K = np.zeros(len(values), np.int32)
    for number in range(len(kinds)):
        offset_K[kind_K == number] = np.arange((kind_K == number).sum())
    union = pa.UnionArray.from_dense(pa.array(kind_K), pa.array(offset_K), [pa.array(of_kind[kind]) for kind in kinds])
    number_of = {value: number for number, value in enumerate(values)}
    return pa.DictionaryArray.from_arrays(pa.array([number_of.get((type(cell), cell)) for cell in cells]), union)
