"""Rows of a store with Arrow columns as records: what the sources of Parquet, Hugging Face and Lance share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from sensorium.contracts import OpenedAgain, RecordColumns
from sensorium.contracts.record_columns import Column
from sensorium.data.fields import Columns
from sensorium.data.stores.keys import KeyUses, record_columns
from sensorium.data.stores.row_values import RowValues, require_columns
from sensorium.errors import BadSample, DataError, Location
from sensorium.types import Record


class RowSource(OpenedAgain):
    """One record for each row of a store; ids, labels, splits and groups are read once, values when they are asked for.

    A store calls `_use` and `_take_keys` in its constructor, and reads rows in `_rows`.
    """

    def _use(self, title: str, schema: pa.Schema, columns: Columns | None, uses: KeyUses) -> None:
        """Take note of which columns of a store are used.

        Args:
            title: the store, for errors.
            schema: its columns.
            columns: field to column, as a recipe says; None for every column that has no other use.
            uses: which columns are labels, id, split and group.

        Raises:
            DataError: when one is not there, or none is left for values.
        """
        require_columns(uses.columns, schema.names, title)
        if columns is None:
            columns = {name: name for name in schema.names if name not in uses.columns}
        self._title, self._uses = title, uses
        self._values = RowValues(columns, schema, title)
        if not self._values.fields:
            raise DataError(f"No column of {title} is left for values; name some in data.source.columns.")

    def _take_keys(self, keys: pa.Table, parts: Column | None, count: int) -> None:
        """Take note of what the store says of its N records.

        Args:
            keys: the columns that `_use` was told of, N rows.
            parts: the split of each row as the store itself has it, strings (N,); None where it has none.
            count: N.

        Raises:
            DataError: when there are none, or a column cannot be what it is used for.
        """
        if not count:
            raise DataError(f"{self._title} has no rows.")
        self._keys, self._notes = record_columns(keys, self._uses, parts, count, self._title)

    @abstractmethod
    def _rows(self, positions: np.ndarray, columns: list[str]) -> Iterator[tuple[np.ndarray, pa.Table | BadSample]]:
        """Read some columns at positions, int64 (M,), ascending, each once.

        Yields:
            Which of the M they are, int64 (m,), and those rows, or why none of them can be read.
        """

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the columns of values."""
        return self._values.fields

    def __len__(self) -> int:
        return len(self._keys)

    def columns(self) -> RecordColumns:
        """Return ids, labels, splits and groups."""
        return self._keys

    def notes(self) -> list[str]:
        """Return which labels could not be read."""
        return list(self._notes)

    def locate(self, index: int, field: str) -> Location:
        """Return the file, row and column of a value."""
        return self._place(index, ", ".join(self._values.columns_of(field)))

    def _place(self, position: int, column: str) -> Location:
        return Location(self._title.strip("'"), position + 1, column)

    def __getitem__(self, index: int) -> Record:
        (record,) = self.read([index])
        if isinstance(record, BadSample):
            raise record
        return record

    def read(self, positions: Sequence[int]) -> list[Record | BadSample]:
        """Return the records at positions, each fragment of the store read once."""
        asked = np.asarray(positions, np.int64)
        if len(outside := asked[(asked < -len(self)) | (asked >= len(self))]):
            raise IndexError(f"there are {len(self)} records, none at {outside[0]}")
        wanted_M, index = np.unique(asked % len(self), return_inverse=True)
        found: list[Record | BadSample] = [BadSample("it was not read")] * len(wanted_M)
        for which, rows in self._rows(wanted_M, self._values.columns):
            if isinstance(rows, BadSample):
                for at in which.tolist():
                    found[at] = rows
                continue
            at_m = wanted_M[which]
            values = self._values.of(rows, lambda row, column, at_m=at_m: self._place(int(at_m[row]), column))
            for at, of_row in zip(which.tolist(), values, strict=True):
                key = self.key(int(wanted_M[at]))
                found[at] = Record(key.id, of_row, key.labels, key.split, key.group, key.time)
        return [_copy(found[at]) for at in index.tolist()]


def _copy(record: Record | BadSample) -> Record | BadSample:
    """Return a record with mappings of its own, which a position that is asked for twice does not share."""
    if isinstance(record, BadSample):
        return record
    return Record(record.id, dict(record.values), dict(record.labels), record.split, record.group, record.time)
