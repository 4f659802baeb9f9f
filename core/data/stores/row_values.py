"""The values of records out of the columns of some rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sensorium.data.cells import canonical, without_faults, without_structs
from sensorium.data.fields import Columns, by_kind
from sensorium.data.several import one_or_several, values_of
from sensorium.errors import DataError, Location, not_found
from sensorium.types import Unreadable

Place = Callable[[int, str], Location]
"""Where the cell of a row in a column is found again, for one that cannot be read."""


class RowValues:
    """Makes the values of records out of rows: each field of one column, of several numeric ones, or of a mapping.

    Args:
        columns: field name to column, list of columns or mapping of columns, as `TableSource` has them.
        schema: the columns that there are.
        title: the store, for errors.

    Raises:
        DataError: when a column is not there, or one of a list holds no numbers.

    Attributes:
        fields: the names of the fields, in order.
        columns: the columns that they are made of, each once.
    """

    def __init__(self, columns: Columns, schema: pa.Schema, title: str) -> None:
        self._single, self._joined, self._mapped = by_kind(columns)
        self.fields = tuple(columns)
        for name, columns_of in (*self._joined.items(), *self._mapped.items()):
            if not columns_of:
                raise DataError(f"data.source.columns gives the field '{name}' no columns.")
        self._of_field = {name: [column] for name, column in self._single.items()} | dict(self._joined)
        self._of_field |= {name: list(of.values()) for name, of in self._mapped.items()}
        self.columns = list(dict.fromkeys(column for name in self.fields for column in self._of_field[name]))
        require_columns(self.columns, schema.names, title)
        for column in (column for names in self._joined.values() for column in names):
            kind = canonical(pa.chunked_array([], schema.field(column).type)).type
            if not any(is_of(kind) for is_of in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)):
                raise DataError(f"The column '{column}' of {title} has the type {kind}, which is no number.")

    def columns_of(self, field: str) -> list[str]:
        """Return the columns of a field."""
        return self._of_field[field]

    def column_of(self, field: str) -> str | None:
        """Return the column of a field that has one alone."""
        return self._single.get(field)

    def of(self, rows: pa.Table, place: Place) -> list[dict[str, Any]]:
        """Return the values of each row, by field; a cell that cannot be read is `Unreadable`.

        Args:
            rows: the columns.
            place: where a cell is found again.
        """
        cells = {name: _Cells(rows[name], name, place) for name in self.columns}
        values: list[dict[str, Any]] = [{} for _ in range(rows.num_rows)]
        for field in self.fields:
            columns = [cells[name] for name in self._of_field[field]]
            for row, of_row in enumerate(values):
                fault = next((column.faults[row] for column in columns if row in column.faults), None)
                value = fault if fault is not None else self._value(field, columns, row)
                if value is not None:
                    of_row[field] = value
        return values

    def _value(self, field: str, columns: Sequence[_Cells], row: int) -> Any:
        if field in self._single:
            return one_or_several(values_of(columns[0].value(row)))
        found = [column.value(row) for column in columns]
        if field in self._joined:
            x_C = np.array([np.nan if cell is None else cell for cell in found], np.float64)
            return None if np.isnan(x_C).all() else x_C
        return None if all(cell is None for cell in found) else dict(zip(self._mapped[field], found, strict=True))


def require_columns(columns: Sequence[str], known: Sequence[str], title: str) -> None:
    """Raise `DataError` for the first column that is not among those of a store, or is twice."""
    for name in columns:
        if name not in known:
            raise DataError(
                not_found(
                    f"There is no column '{name}' in {title}", name, known, f"its columns are: {', '.join(known)}"
                )
            )
        if (count := known.count(name)) > 1:
            raise DataError(f"There are {count} columns named '{name}' in {title}; rename all but one.")


class _Cells:
    """One column of some rows, and which of its cells cannot be read."""

    def __init__(self, column: pa.ChunkedArray, name: str, place: Place) -> None:
        cells, reasons = without_faults(canonical(column), "")
        self._cells = cells.combine_chunks()
        self.faults = {row: Unreadable(reason, "encoding", place(row, name)) for row, reason in reasons.items()}
        kind = self._cells.type
        self._is_series = _is_list_of_floats(kind)

    def value(self, row: int) -> Any:
        """Return a cell: a list of floats as an array of their type, a file as its bytes or else its path; None for
        an empty one."""
        cell = self._cells[row]
        if self._is_series and cell.is_valid and len(cell) and not cell.values.null_count:
            return cell.values.to_numpy()
        return without_structs(cell.as_py())


def _is_list_of_floats(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return is_list and pa.types.is_floating(kind.value_type)
