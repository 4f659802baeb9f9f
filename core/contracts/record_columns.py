"""What a source says of all its records at once, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import numpy as np
import pyarrow as pa

from sensorium.errors import DataError
from sensorium.types import Record, Span

Column: TypeAlias = pa.Array | pa.ChunkedArray


@dataclass(frozen=True)
class RecordColumns:
    """Ids, labels, splits, groups and times of N records, as Arrow columns: what `Source.key` says of one.

    A few bytes a record and no Python object, so that tens of millions of records cost little. A null is what None is
    in a `Record`.

    Args:
        count: N.
        ids: strings (N,), unique; None where the id of a record is its position, in decimal digits.
        labels: name -> numbers, booleans or strings (N,), dictionary-encoded or not.
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

    @classmethod
    def of_keys(cls, keys: Iterable[Record]) -> Self:
        """Return the columns of records, whose values are not looked at.

        Raises:
            DataError: when a label has numbers in one record and strings in another.
        """
        keys = list(keys)
        names = dict.fromkeys(name for key in keys for name in key.labels)
        times = any(key.time is not None for key in keys)
        return cls(
            len(keys),
            pa.array([key.id for key in keys], pa.string()),
            {name: _label_column(name, [key.labels.get(name) for key in keys]) for name in names},
            _strings([key.split for key in keys]),
            _strings([key.group for key in keys]),
            _times([None if key.time is None else key.time.first for key in keys]) if times else None,
            _times([None if key.time is None else key.time.last for key in keys]) if times else None,
        )

    def _named(self) -> list[tuple[str, Column]]:
        own = {"ids": self.ids, "splits": self.splits, "groups": self.groups, "first": self.first, "last": self.last}
        found = [(name, column) for name, column in own.items() if column is not None]
        return found + [(f"the label '{name}'", column) for name, column in self.labels.items()]


def _cell(column: Column | None, index: int) -> Any:
    """Return a cell as Python has it, None for a null; a time stamp as NumPy has it."""
    if column is None:
        return None
    if pa.types.is_timestamp(column.type):
        cell = column.slice(index, 1).to_numpy(zero_copy_only=False)[0]
        return None if np.isnat(cell) else cell
    return column[index].as_py()


def _strings(cells: Sequence[str | None]) -> Column | None:
    return None if all(cell is None for cell in cells) else pa.array(cells, pa.string())


def _times(stamps: Sequence[Any]) -> Column:
    """Return time stamps as nanoseconds, or as the numbers they are."""
    if any(isinstance(stamp, np.datetime64) for stamp in stamps):
        return pa.array(np.array([np.datetime64("NaT") if s is None else s for s in stamps], "datetime64[ns]"))
    return pa.array([stamp.item() if isinstance(stamp, np.generic) else stamp for stamp in stamps])


def _label_column(name: str, cells: Sequence[Any]) -> Column:
    plain = [cell.item() if isinstance(cell, np.generic) else cell for cell in cells]
    try:
        return pa.array(plain)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"The label '{name}' is a number in some records and a string in others: make it one of them ({error})."
        ) from error
