"""Predictions of evaluators: joined over folds, and written beside the table as one Parquet file.

A block of predictions is a mapping of columns of one length, as `Evaluator.predictions` returns it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sensorium.feature_table import FeatureTable
from sensorium.runs.atomic import write_atomically

Columns = Mapping[str, np.ndarray]


def count_of(columns: Columns) -> int:
    """Return the number of predictions in a block."""
    return len(next(iter(columns.values()))) if columns else 0


def marked(columns: Columns, **marks: str | int) -> dict[str, np.ndarray]:
    """Return a block behind columns of one value, such as its row and fold; nothing of an empty block."""
    count = count_of(columns)
    if not count:
        return {}
    filled = {name: np.full(count, mark, object if isinstance(mark, str) else None) for name, mark in marks.items()}
    return {**filled, **columns}


def joined(blocks: Sequence[Columns]) -> dict[str, np.ndarray]:
    """Return the blocks one below the other; a column that one lacks is nan (or None) there."""
    blocks = [block for block in blocks if count_of(block)]
    kinds = {name: column.dtype for block in blocks for name, column in block.items()}

    def rows(block: Columns, name: str) -> np.ndarray:
        if name in block:
            return block[name]
        return np.full(count_of(block), np.nan if kinds[name].kind == "f" else None, kinds[name])

    return {name: np.concatenate([rows(block, name) for block in blocks]) for name in kinds}


def time_columns(table: FeatureTable, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return "start" and "end", the time stamps of rows of a table; nothing where one of them has none.

    Stamps are datetime64[ns], or float64 numbers.
    """
    times = [table.times[row] for row in rows] if table.times else []
    if not times or any(time is None for time in times):
        return {}
    spans_N2 = np.array(times)
    spans_N2 = spans_N2.astype("datetime64[ns]" if spans_N2.dtype.kind == "M" else np.float64)
    return {"start": spans_N2[:, 0], "end": spans_N2[:, 1]}


def time_ends(columns: Columns) -> tuple[str, str]:
    """Return the first and the last time stamp of a block as words, or else the numbers of its records."""
    if "start" not in columns:
        return "record 1", f"record {count_of(columns)}"
    first, last = columns["start"][0], columns["end"][-1]
    if columns["start"].dtype.kind == "M":
        return str(first.astype("datetime64[s]")), str(last.astype("datetime64[s]"))
    return f"{float(first):g}", f"{float(last):g}"


def write_predictions(path: Path, columns: Columns) -> None:
    """Write a block as Parquet; a column of numbers and words becomes words."""
    table = pa.table({name: _array(column) for name, column in columns.items()})
    write_atomically(path, lambda part: pq.write_table(table, part))


def _array(column: np.ndarray) -> pa.Array:
    if column.dtype != object:
        return pa.array(column)
    values = column.tolist()
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) <= 1:
        return pa.array([float(value) if kinds == {int, float} and value is not None else value for value in values])
    return pa.array([None if value is None else str(value) for value in values])
