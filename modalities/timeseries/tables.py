"""Tables of one series: a row for each time step, a column for each channel."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np

from sensorium import BadSample

ENDINGS = (".csv", ".tsv")
DELIMITERS = ",;\t "
MISSING = ("", "?", "na", "nan", "null")


def is_table(raw: object) -> bool:
    """Return whether a raw value is the path of a table."""
    return isinstance(raw, str | os.PathLike) and os.fspath(raw).lower().endswith(ENDINGS)


def read_table(path: str | os.PathLike) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return the columns of numbers of a table as channels, and their names where the first row has names.

    Columns of other values, such as dates, are left out. A table of one row of numbers is one channel.

    Returns:
        float64 (C, T), nan where a cell is empty or "nan", and C names, or None.

    Raises:
        BadSample: when there is no such file, it is not text in UTF-8, its rows differ in length, or none is a number.
    """
    rows = _rows(Path(path))
    names = None if all(_number(cell) is not None for cell in rows[0]) else tuple(cell.strip() for cell in rows[0])
    cells = rows if names is None else rows[1:]
    if not cells:
        raise BadSample("the table has a row of names and no steps", "empty")
    if (uneven := next((row for row in cells if len(row) != len(rows[0])), None)) is not None:
        raise BadSample(f"a row of the table has {len(uneven)} cells, the first {len(rows[0])}", "damaged")
    columns = [[_number(cell) for cell in column] for column in zip(*cells, strict=True)]
    kept = [at for at, column in enumerate(columns) if None not in column]
    if not kept:
        raise BadSample("no column of the table has numbers alone", "unsupported")
    values_CT = np.array([columns[at] for at in kept], np.float64)
    if names is None:
        return (values_CT.T if values_CT.shape[1] == 1 else values_CT), None
    return values_CT, tuple(names[at] for at in kept)


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadSample("the table is not text in UTF-8", "encoding") from error
    except (OSError, ValueError) as error:
        raise BadSample(f"'{path}' cannot be read: {getattr(error, 'strerror', None) or error}", "missing") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise BadSample("the table is empty", "empty")
    delimiter = max(DELIMITERS, key=lines[-1].count) if any(one in lines[-1] for one in DELIMITERS) else ","
    return list(csv.reader(lines, delimiter=delimiter))


def _number(cell: str) -> float | None:
    """Return the number in a cell, nan for none; None where the cell has another value."""
    if cell.strip().lower() in MISSING:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return None
