"""Rows of a table that are one record, because they have the same key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensorium.data.readers import Table
from sensorium.errors import DataError


class RowsByKey:
    """The rows of each record, in the order of the table; N rows, M records.

    Args:
        table: the table.
        column: the column of keys, for errors.
        names: the key of each row.

    Raises:
        DataError: when a row has none.

    Attributes:
        keys: of each record, in the order in which they first come.
    """

    def __init__(self, table: Table, column: str, names: Sequence[str | None]) -> None:
        if None in names:
            raise DataError(f"Row {table.position(names.index(None))} has an empty key in column '{column}'.")
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        self.keys: list[str] = [str(name) for name in numbers]
        self._table, self._column = table, column
        record_N = np.array([numbers[name] for name in names])
        self._order_N = np.argsort(record_N, kind="stable")
        self._starts_M = np.searchsorted(record_N[self._order_N], np.arange(len(self.keys)))

    def rows(self, index: int) -> list[int]:
        """Return the rows of a record."""
        end = self._starts_M[index + 1] if index + 1 < len(self._starts_M) else len(self._order_N)
        return self._order_N[self._starts_M[index] : end].tolist()

    def any(self, flag_N: np.ndarray) -> np.ndarray:
        """Return which records have a row with the flag, bool (M,) of bool (N,)."""
        return np.logical_or.reduceat(flag_N[self._order_N], self._starts_M)

    def shared(self, cells: Sequence[Any], column: str) -> list[Any]:
        """Return the one cell that the rows of each record have, None where it is missing in all.

        Args:
            cells: of the N rows.
            column: their name, for the error.

        Raises:
            DataError: when rows of one key differ.
        """
        found = []
        for index, key in enumerate(self.keys):
            distinct = {cells[row]: row for row in reversed(self.rows(index)) if cells[row] is not None}
            if len(distinct) > 1:
                (first, row), (other, another) = sorted(distinct.items(), key=lambda item: item[1])[:2]
                raise DataError(
                    f"The rows of '{key}' in {self._table.title} differ in '{column}': row {self._table.position(row)} "
                    f"has '{first}', row {self._table.position(another)} '{other}'; rows with one '{self._column}' are "
                    "one record, whose labels, split and group are one."
                )
            found.append(next(iter(distinct), None))
        return found
