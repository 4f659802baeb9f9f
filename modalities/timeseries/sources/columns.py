"""The columns of CSV and Parquet files as arrays, with errors that name the column and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from sensorium.errors import DataError, did_you_mean

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""How many of a date's units make a second."""


class Columns:
    """The columns of one or several files, read whole.

    Args:
        files: .csv, .csv.gz or .parquet, of the same columns.
        texts: columns whose cells stay the text they are.
        delimiter: what separates the cells of a CSV file.
        decimal: what a decimal point looks like in a CSV file.

    Raises:
        DataError: when a file cannot be read, or there are no rows.
    """

    def __init__(self, files: Sequence[Path], texts: Sequence[str], delimiter: str = ",", decimal: str = ".") -> None:
        if not files:
            raise DataError("The source 'series-table' got an empty list of files.")
        self.title = f"'{files[0]}'" + (f" and {len(files) - 1} more" if len(files) > 1 else "")
        self.stem = files[0].name.partition(".")[0]
        tables = [_read(file, texts, delimiter, decimal) for file in files]
        for file, table in zip(files, tables, strict=True):
            if twice := [name for name, count in Counter(table.column_names).items() if count > 1]:
                raise DataError(f"'{file}' has several columns named '{twice[0]}'; rename all but one.")
        try:
            self._table = pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowException as error:
            raise DataError(f"The files {self.title} have columns of different types: {_first(error)}.") from error
        if not len(self):
            raise DataError(f"{self.title} has no rows.")

    def __len__(self) -> int:
        return self._table.num_rows

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return self._table.column_names

    def require(self, names: Iterable[str | None]) -> None:
        """Raise a DataError for the first of some columns, None aside, that is not there."""
        for name in names:
            if name is not None:
                self._column(name)

    def _column(self, name: str) -> pa.ChunkedArray:
        if name not in self.names:
            suggestion = did_you_mean(name, self.names)
            raise DataError(
                f"{self.title} has no column '{name}'{suggestion}{' Its' if suggestion else '; its'} columns are: "
                f"{', '.join(self.names)}."
            )
        return self._table[name]

    def texts(self, name: str) -> list[str | None]:
        """Return the cells of a column as text, empty ones as None."""
        return [None if cell in (None, "") else str(cell) for cell in self._column(name).to_pylist()]

    def cells(self, name: str) -> list[Any]:
        """Return the cells of a column as they are, empty ones as None."""
        return [None if cell == "" else cell for cell in self._column(name).to_pylist()]

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as float64 (N,), nan where a cell is empty."""
        column = self._column(name)
        kind = column.type
        known = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
        if not any(is_kind(kind) for is_kind in known):
            raise DataError(
                f"The column '{name}' of {self.title} holds {_fault(column, float)}, which is no number: name the "
                "columns of values with data.source.channels, those to be predicted with data.source.labels, or say "
                "what a decimal point looks like with data.source.decimal."
            )
        return pc.cast(column, pa.float64()).to_numpy()

    def stamps(self, name: str) -> tuple[np.ndarray, float]:
        """Return time stamps, int64 or float64 (N,), and how many of their units make a second (1 for numbers)."""
        column, kind = self._column(name), self._column(name).type
        if column.null_count:
            row = pc.index(pc.is_null(column), True).as_py() + 1
            raise DataError(
                f"Row {row} of {self.title} has no time stamp in column '{name}': fill it in, or drop the row."
            )
        if pa.types.is_date(kind):
            column = pc.cast(column, pa.timestamp("s"))
        if pa.types.is_temporal(column.type):
            unit = getattr(column.type, "unit", "s")
            width = pa.int64() if column.type.bit_width == 64 else pa.int32()
            return pc.cast(pc.cast(column, width), pa.int64()).to_numpy(), UNITS[unit]
        if pa.types.is_integer(kind):
            return pc.cast(column, pa.int64()).to_numpy(), 1.0
        if pa.types.is_floating(kind):
            stamps_N = pc.cast(column, pa.float64()).to_numpy()
            if not np.isfinite(stamps_N).all():
                row = int(np.argmin(np.isfinite(stamps_N))) + 1
                raise DataError(f"Row {row} of {self.title} has the time stamp {stamps_N[row - 1]} in '{name}'.")
            return stamps_N, 1.0
        raise DataError(
            f"The column '{name}' of {self.title} holds {_fault(column, _stamp)}, which is no time stamp: write dates "
            "as 2024-01-31 23:59:00, or as numbers."
        )


def _fault(column: pa.ChunkedArray, understand: Callable[[Any], object]) -> str:
    """Return the first cell of a column that is not understood, with its row."""
    for row, cell in enumerate(column.to_pylist(), start=1):
        try:
            understand(cell)
        except (TypeError, ValueError):
            if cell is not None:
                return f"'{cell}' (row {row})"
    return f"cells of type {column.type}"


def _stamp(cell: Any) -> object:
    """Understand a cell as a date or a number."""
    try:
        return datetime.fromisoformat(cell)
    except ValueError:
        return float(cell)


def _read(path: Path, texts: Sequence[str], delimiter: str, decimal: str) -> pa.Table:
    """Read one file."""
    if not path.is_file():
        raise DataError(f"There is no file '{path}': check data.source.path.")
    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            return pa.parquet.read_table(path)
        if name.endswith((".csv", ".csv.gz")):
            return pa.csv.read_csv(
                path,
                parse_options=pa.csv.ParseOptions(delimiter=delimiter),
                convert_options=pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(texts, pa.string()), decimal_point=decimal
                ),
            )
    except (pa.ArrowException, OSError, EOFError) as error:
        raise DataError(f"'{path}' cannot be read: {_first(error)}.") from error
    raise DataError(f"'{path}' is neither .csv nor .csv.gz nor .parquet; files of whole series are read by 'series'.")


def _first(error: BaseException) -> str:
    return str(error).splitlines()[0].rstrip(".")
