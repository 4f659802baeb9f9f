"""Predictions of evaluators: joined over folds, and written beside the table as one Parquet file.

A block of predictions is a mapping of columns of one length, as `Evaluator.predictions` returns it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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
