"""A column of dates or numbers as time stamps."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium import Table
from sensorium.errors import DataError

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""How many of a date's units make a second."""


def timestamps(table: Table, name: str) -> tuple[np.ndarray, float]:
    """Return a column of time stamps, int64 or float64 (N,), and how many of its units make a second (1 for numbers).

    Raises:
        DataError: when a cell is missing, or is neither a date nor a finite number; the message names its row.
    """
    column = table.arrow(name)
    if column.null_count:
        row = table.position(pc.index(pc.is_null(column), True).as_py())
        raise DataError(f"Row {row} has no time stamp in column '{name}': fill it in, or drop the row.")
    if pa.types.is_date(column.type):
        column = pc.cast(column, pa.timestamp("s"))
    if pa.types.is_temporal(column.type):
        unit = getattr(column.type, "unit", "s")
        width = pa.int64() if column.type.bit_width == 64 else pa.int32()
        return pc.cast(pc.cast(column, width), pa.int64()).to_numpy(), UNITS[unit]
    if pa.types.is_integer(column.type):
        return pc.cast(column, pa.int64()).to_numpy(), 1.0
    if pa.types.is_floating(column.type):
        stamps_N = pc.cast(column, pa.float64()).to_numpy()
        if not np.isfinite(stamps_N).all():
            row = int(np.argmin(np.isfinite(stamps_N)))
            raise DataError(f"Row {table.position(row)} has the time stamp {stamps_N[row]} in column '{name}'.")
        return stamps_N, 1.0
    raise DataError(
        f"The column '{name}' holds {table.first_invalid(name, _parse)}, which is no time stamp: write dates as "
        "2024-01-31 23:59:00, or as numbers."
    )


def _parse(cell: Any) -> object:
    try:
        return datetime.fromisoformat(cell)
    except ValueError:
        return float(cell)
