"""Rows of a table that are one record, because they have the same key."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium.contracts.record_columns import Column, numbered
from sensorium.data.readers import Table
from sensorium.errors import DataError


class RowsByKey:
    """The rows of each record, in the order of the table; N rows, M records.

    Args:
        table: the table.
        column: the column of keys, for errors.
        names: the key of each row, strings (N,).

    Raises:
        DataError: when a row has none.

    Attributes:
        keys: of each record, strings (M,), in the order in which they first come.
    """

    def __init__(self, table: Table, column: str, names: Column) -> None:
        if names.null_count:
            row = pc.index(pc.is_null(names), True).as_py()
            raise DataError(f"Row {table.position(row)} has an empty key in column '{column}'.")
        self.keys, record_N = numbered(names)
        self._table, self._column = table, column
        self._order_N = np.argsort(record_N, kind="stable")
        self._starts_M = np.searchsorted(record_N[self._order_N], np.arange(len(self.keys)))

    def rows(self, index: int) -> list[int]:
        """Return the rows of a record."""
        end = self._starts_M[index + 1] if index + 1 < len(self._starts_M) else len(self._order_N)
        return self._order_N[self._starts_M[index] : end].tolist()

    def any(self, flag_N: np.ndarray) -> np.ndarray:
        """Return which records have a row with the flag, bool (M,) of bool (N,)."""
        return np.logical_or.reduceat(flag_N[self._order_N], self._starts_M)

    def shared(self, cells: Column, column: str) -> Column:
        """Return the one cell that the rows of each record have, null where it is missing in all: (M,).

        Args:
            cells: of the N rows.
            column: their name, for the error.

        Raises:
            DataError: when rows of one key differ.
        """
        values, number_N = numbered(cells)
        ordered_N = number_N[self._order_N]
        most_M = np.maximum.reduceat(ordered_N, self._starts_M)
        least_M = np.minimum.reduceat(np.where(ordered_N < 0, len(values), ordered_N), self._starts_M)
        if (differs_M := (most_M >= 0) & (least_M != most_M)).any():
            raise self._difference(int(differs_M.argmax()), cells, column)
        return values.take(pa.array(most_M, mask=most_M < 0))

    def _difference(self, index: int, cells: Column, column: str) -> DataError:
        """Return the error of a record whose rows have different cells."""
        rows = self.rows(index)
        of_rows = cells.take(pa.array(rows)).to_pylist()
        distinct = {cell: row for cell, row in reversed(list(zip(of_rows, rows, strict=True))) if cell is not None}
        (first, row), (other, another) = sorted(distinct.items(), key=lambda item: item[1])[:2]
        return DataError(
            f"The rows of '{self.keys[index].as_py()}' in {self._table.title} differ in '{column}': row "
            f"{self._table.position(row)} has '{first}', row {self._table.position(another)} '{other}'; rows with one "
            f"'{self._column}' are one record, whose labels, split and group are one."
        )
