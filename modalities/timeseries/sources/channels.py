"""Which columns of a table are the channels of its time series."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium import Table
from sensorium.errors import DataError, not_found
from sensorium.modalities.timeseries.precision import EXACT

LABEL_WORDS = {"label", "labels", "class", "target", "fault", "anomaly", "outlier", "failure", "defect", "attack"}
"""Words in the name of a column that is to be predicted."""
TIME_NAMES = {"time", "timestamp", "datetime", "date"}
"""Names of a column of time stamps."""
MAX_CLASSES, MIN_ROWS, ROWS_OF_A_CLASS = 20, 50, 10
"""A column of at most so many integers, in a table of so many rows and rows for each of them, looks like a label."""


@dataclass
class Channel:
    """One channel of a table, with the name it has in errors and plots, its rows and the values of all rows."""

    name: str
    rows_M: np.ndarray
    values_N: np.ndarray


def check_channels(table: Table, columns: Sequence[str]) -> None:
    """Check the columns that become channels when none are named.

    Raises:
        DataError: when one of them looks like a label or like time stamps; the message names it and what to set.
    """
    for name in columns:
        if not name or name.startswith("Unnamed:"):
            raise DataError(
                f"{table.title} has a column without a name, such as an index that was written along with the data: "
                f"leave it out with data.source.exclude: ['{name}'], or name the columns of values with "
                "data.source.channels."
            )
        if name.lower() in TIME_NAMES:
            raise DataError(
                f"The column '{name}' of {table.title} looks like time stamps, which are no values: name it with "
                f"data.source.time: {name}, leave it out with data.source.exclude: [{name}], or name the columns of "
                "values with data.source.channels."
            )
        if reason := _label_like(table, name, columns):
            raise DataError(
                f"The column '{name}' of {table.title} looks like a label ({reason}), and would be one of the channels "
                f"that features are made of: leave it out with data.source.exclude: [{name}] (evaluators predict it "
                f"with data.source.labels: [{name}]), or name all columns of values with data.source.channels."
            )


def _label_like(table: Table, name: str, columns: Sequence[str]) -> str | None:
    """Return why a column looks like a label, or None."""
    words = set(re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()))
    if found := words & LABEL_WORDS:
        return f"its name says '{min(found)}'"
    if name.lower() == "y" and not {"x", "z"} & {other.lower() for other in columns}:
        return "its name is the usual one for it"
    column = table.arrow(name)
    if pa.types.is_boolean(column.type):
        return "its values are true and false"
    if len(table) < MIN_ROWS or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return None
    values = sorted(value for value in pc.unique(column).to_pylist() if value is not None and value == value)
    whole = all(value == value // 1 for value in values)
    if whole and 2 <= len(values) <= min(MAX_CLASSES, len(table) // ROWS_OF_A_CLASS):
        shown = ", ".join(f"{value:g}" for value in values[:3]) + (", ..." if len(values) > 3 else "")
        return f"{len(values)} different whole numbers in {len(table):,} rows: {shown}"
    return None


def wide_channels(table: Table, columns: Sequence[str], units: Mapping[str, str]) -> list[Channel]:
    """Return the channels of a wide table, one for each column."""
    if not columns:
        raise DataError(f"{table.title} has no column of values left: name them with data.source.channels.")
    values = {name: _numbers(table, name) for name in columns}
    return [
        Channel(_titled(name, units), np.flatnonzero(~_missing(values_N)), values_N)
        for name, values_N in values.items()
    ]


def long_channels(
    table: Table,
    channel: str,
    value: str,
    chosen: Sequence[str] | None,
    excluded: Sequence[str],
    units: Mapping[str, str],
) -> list[Channel]:
    """Return the channels of a long table, whose names stand in the column `channel`."""
    names, values_N = table.identifiers(channel, "channel name"), _numbers(table, value)
    known = sorted(set(names))
    for name in [*(chosen or ()), *excluded]:
        if name not in known:
            raise DataError(
                not_found(
                    f"The column '{channel}' of {table.title} names no channel '{name}'",
                    name,
                    known,
                    f"its channels are: {', '.join(known)}",
                )
            )
    name_N, observed_N = np.array(names), ~_missing(values_N)
    return [
        Channel(_titled(name, units), np.flatnonzero((name_N == name) & observed_N), values_N)
        for name in chosen or known
        if name not in excluded
    ]


def _titled(name: str, units: Mapping[str, str]) -> str:
    """Return a channel's name with its unit: that of `units`, or that in the name itself, "temperature (C)"."""
    if name in units:
        return f"{name} [{units[name]}]"
    written = re.fullmatch(r"\s*(.+?)\s*[\[(]([^\[\]()]+)[\])]\s*", name)
    return f"{written[1]} [{written[2]}]" if written else name


def _numbers(table: Table, name: str) -> np.ndarray:
    """Return a column as float64 (N,), nan where a cell is missing; as Python integers where floats are inexact."""
    table.check_readable(name)
    column = table.arrow(name)
    if pa.types.is_integer(column.type) and column.null_count < len(column):
        bounds = pc.min_max(column).as_py()
        if max(abs(bounds["min"]), abs(bounds["max"])) > EXACT:
            return np.array([np.nan if cell is None else cell for cell in column.to_pylist()], object)
    cells = table.cells(name) if pa.types.is_string(column.type) else []
    if any(cells) and all(cell is None or str(cell).strip().lstrip("+-").isdecimal() for cell in cells):
        return np.array([np.nan if cell is None else int(cell) for cell in cells], object)  # beyond 64 bits
    return table.numbers(
        name,
        ": name the columns of values with data.source.channels, those to be predicted with data.source.labels, or "
        "the decimal point with data.source.decimal",
    )


def _missing(values_N: np.ndarray) -> np.ndarray:
    return values_N != values_N
