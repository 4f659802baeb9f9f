"""JSON lines: one object of column names and cells on each line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sensorium.data.cells import texts_in
from sensorium.data.encodings import fault_of, open_text
from sensorium.data.rows import Rows
from sensorium.errors import DataError

SCALARS = (str, bool, int, float)
NO_COLUMN = (pa.ArrowException, OverflowError, ValueError)
"""Raised for cells that are not of one type, or are whole numbers or text that Arrow does not hold."""


def column_names(path: Path, encoding: str | None) -> list[str]:
    """Return the names of the columns of a file, in the order in which they come.

    Raises:
        DataError: when no line names any.
    """
    names: dict[str, None] = {}
    fault = None
    for number, row, reason in _lines(path, encoding):
        names |= dict.fromkeys(row)
        fault = fault or (f"Line {number} of '{path}' {reason}" if reason else None)
    if not names:
        lines = "JSON lines have one object of column names and cells on each line"
        raise DataError(f"{fault}; {lines}." if fault else f"'{path}' is empty; {lines}.")
    return list(names)


def read(path: Path, encoding: str | None, columns: Sequence[str]) -> Rows:
    """Read columns of a file; a line that is no JSON object is an unreadable row.

    Not with pyarrow's own JSON reader: it turns text that looks like a date into one.
    """
    numbers: list[int] = []
    rows: list[dict[str, Any]] = []
    faults: dict[tuple[int, str | None], str] = {}
    for number, row, reason in _lines(path, encoding):
        if reason is not None:
            faults[len(rows), None] = f"the line {reason}"
        numbers.append(number)
        rows.append(row)
    arrays = {}
    for name in columns:
        cells = [row.get(name) for row in rows]
        try:
            arrays[name] = pa.array(cells)
        except NO_COLUMN:
            found = {at: reason for at, cell in enumerate(cells) if (reason := _fault(cell)) is not None}
            faults |= {(at, name): reason for at, reason in found.items()}
            readable = [None if at in found else cell for at, cell in enumerate(cells)]
            arrays[name] = _column(readable, lambda row: f"line {numbers[row]} of '{path}'", name)
    return Rows(
        pa.table(arrays) if arrays else pa.table({"": pa.nulls(len(rows))}),
        faults,
        partial(_at, np.array(numbers, np.int64)),
    )


def _at(numbers_N: np.ndarray, row: int) -> int:
    return int(numbers_N[row])


def _fault(cell: Any) -> str | None:
    return next((reason for text in texts_in(cell) if (reason := fault_of(text)) is not None), None)


def _lines(path: Path, encoding: str | None) -> Iterator[tuple[int, dict[str, Any], str | None]]:
    """Yield the number of each line that is not blank, its object, and why it has none."""
    with open_text(path, encoding) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = _parsed(line)
            except json.JSONDecodeError as error:
                yield number, {}, f"is not JSON ({error.msg} at character {error.pos + 1})"
                continue
            except RecursionError:
                yield number, {}, "is not JSON that can be read (it is nested too deep)"
                continue
            if isinstance(row, dict):
                yield number, row, None
            else:
                yield number, {}, "is not a JSON object"


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer of more digits than Python takes for one
        return json.loads(line, parse_int=str)


def _column(cells: list[Any], place: Any, name: str) -> pa.Array:
    """Return cells as a column; numbers beside text are text, and so are whole numbers beyond 64 bits (`canonical`)."""
    try:
        return pa.array(cells)
    except NO_COLUMN:
        pass
    filled = [cell for cell in cells if cell is not None]
    if all(isinstance(cell, SCALARS) for cell in filled):
        if all(isinstance(cell, int | float) for cell in filled) and any(isinstance(cell, float) for cell in filled):
            return pa.array([None if cell is None else _number(cell) for cell in cells], pa.float64())
        return pa.array([cell if cell is None or isinstance(cell, str) else json.dumps(cell) for cell in cells])
    try:
        return pa.array([_with_floats(cell) for cell in cells])
    except NO_COLUMN as error:
        first, other = _unlike(cells)
        raise DataError(
            f"The column '{name}' holds {_shown(cells[first])} in {place(first)} and {_shown(cells[other])} in "
            f"{place(other)}, which are not of one type; make them so, or leave the column out."
        ) from error


def _number(cell: float) -> float:
    try:
        return float(cell)
    except OverflowError:
        return float("inf") if cell > 0 else float("-inf")


def _with_floats(cell: Any) -> Any:
    """Return a cell with the numbers in its lists as floats: there they are quantities, not names."""
    if isinstance(cell, list):
        return [_with_floats(inner) for inner in cell]
    if isinstance(cell, dict):
        return {key: _with_floats(inner) for key, inner in cell.items()}
    return _number(cell) if isinstance(cell, int) and not isinstance(cell, bool) else cell


def _unlike(cells: list[Any]) -> tuple[int, int]:
    """Return the first row with a cell, and the first that cannot stand in one column with those before it."""
    filled = [row for row, cell in enumerate(cells) if cell is not None]
    for count in range(2, len(filled) + 1):
        try:
            pa.array([_with_floats(cells[row]) for row in (filled[0], filled[count - 1])])
        except NO_COLUMN:
            return filled[0], filled[count - 1]
    return filled[0], filled[-1]


def _shown(cell: Any) -> str:
    text = json.dumps(cell, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:40]}..."
