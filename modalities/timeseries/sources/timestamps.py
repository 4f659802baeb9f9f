"""Columns of dates or numbers as time stamps, and spans of time as options write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium import Table
from sensorium.errors import DataError, RecipeError

PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""How many of a date's units make a second."""
SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""Units of a span of time."""
HERTZ = {"hz": 1.0, "khz": 1e3, "mhz": 1e6}
"""Units of a sampling rate."""


def seconds_of(option: str, given: float | str | None) -> float | None:
    """Return a span of time in seconds: a number, "10 ms" or "5 min", or the period of a rate, "50 Hz".

    Raises:
        RecipeError: when it is none of them, or not above 0; the message names the option.
    """
    if given is None:
        return None
    written = re.fullmatch(r"\s*([0-9.eE+-]+)?\s*([a-zA-Z]*)\s*", str(given))
    try:
        number = float(written[1] or 1) if written and str(given).strip() else 0.0
    except ValueError:
        number = 0.0
    unit = written[2].lower() if written else ""
    if number > 0 and np.isfinite(number):
        if unit in HERTZ:
            return 1 / (number * HERTZ[unit])
        if unit in SECONDS or not unit:
            return number * SECONDS.get(unit, 1.0)
    raise RecipeError(
        f"data.source.{option} is a span of time above 0, such as 10 (seconds), '10 ms', '5 min', '1 h' or a sampling "
        f"rate such as '50 Hz', not {given!r}."
    )


def units_per_second(stamps_N: np.ndarray) -> float:
    """Return how many units of time stamps make a second: 1 for numbers."""
    return PER_SECOND[np.datetime_data(stamps_N.dtype)[0]] if stamps_N.dtype.kind == "M" else 1.0


def timestamps(table: Table, name: str, time_format: str | None = None) -> np.ndarray:
    """Return a column of time stamps: datetime64 (N,), int64 or float64 (N,).

    Args:
        table: the table.
        name: the column.
        time_format: how dates are written, as `strptime` has it ("%d.%m.%Y %H:%M"), or the unit of numbers since 1970
            ("s", "ms", "us" or "ns"); None takes ISO dates, and numbers as they are.

    Raises:
        DataError: when a cell is missing, or is no time stamp of the kind that the others are; the message names its
            row.
    """
    table.check_readable(name)
    column = table.arrow(name)
    if column.null_count or "" in (column.unique().to_pylist() if pa.types.is_string(column.type) else ()):
        row = next(row for row, cell in enumerate(column.to_pylist()) if cell in (None, ""))
        raise DataError(f"Row {table.position(row)} has no time stamp in column '{name}': fill it in, or drop the row.")
    if time_format is not None and "%" in time_format:
        return _formatted(table, name, time_format)
    if pa.types.is_date(column.type):
        column = pc.cast(column, pa.timestamp("s"))
    if pa.types.is_timestamp(column.type):
        return pc.cast(column, pa.int64()).to_numpy().astype(f"datetime64[{column.type.unit}]")
    if pa.types.is_temporal(column.type):  # a time of day, or a duration
        width = pa.int64() if column.type.bit_width == 64 else pa.int32()
        return pc.cast(column, width).to_numpy() / PER_SECOND[getattr(column.type, "unit", "s")]
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        stamps_N = column.to_numpy()
        if not np.isfinite(stamps_N).all():
            row = int(np.argmin(np.isfinite(stamps_N)))
            raise DataError(f"Row {table.position(row)} has the time stamp {stamps_N[row]} in column '{name}'.")
        return stamps_N if time_format is None else _since_1970(stamps_N, time_format)
    return _parsed(table, name)


def _since_1970(stamps_N: np.ndarray, unit: str) -> np.ndarray:
    if unit not in PER_SECOND:
        raise RecipeError(
            f"data.source.time_format is a format of dates such as '%d.%m.%Y %H:%M:%S', or the unit of numbers since "
            f"1970 (s, ms, us or ns), not {unit!r}."
        )
    if stamps_N.dtype.kind == "f":
        return (stamps_N * (1e6 / PER_SECOND[unit])).round().astype(np.int64).astype("datetime64[us]")
    return stamps_N.astype(np.int64).astype(f"datetime64[{unit}]")


def _formatted(table: Table, name: str, time_format: str) -> np.ndarray:
    """Return dates that are written in a format, datetime64[us] (N,)."""
    texts = table.texts(name)
    found = np.empty(len(texts), "datetime64[us]")
    for row, text in enumerate(texts):
        try:
            found[row] = _in_utc(datetime.strptime(str(text).strip(), time_format))
        except ValueError as error:
            raise DataError(
                f"Row {table.position(row)} has the time stamp '{text}' in column '{name}', which is not written as "
                f"data.source.time_format says, '{time_format}'."
            ) from error
    return found


def _parsed(table: Table, name: str) -> np.ndarray:
    """Return the time stamps of a column of text, each read by itself: datetime64[us] or float64 (N,)."""
    kinds: list[str] = []
    found: list[Any] = []
    for row, text in enumerate(table.texts(name)):
        kind, stamp = _parse(str(text).strip())
        if stamp is None:
            raise DataError(
                f"The column '{name}' holds '{text}' (row {table.position(row)}), which is no time stamp: write dates "
                "as 2024-01-31 23:59:00, or as numbers, or give their format with data.source.time_format, such as "
                "'%d.%m.%Y %H:%M'."
            )
        if kinds and kind != kinds[0]:
            raise DataError(
                f"The column '{name}' has time stamps of two kinds: '{text}' in row {table.position(row)} is {kind}, "
                f"'{table.texts(name)[0]}' in row {table.position(0)} is {kinds[0]}; write all of them in one way."
            )
        kinds.append(kind)
        found.append(stamp)
    return np.array(found, "datetime64[us]" if kinds[0] != "a number" else np.float64)


def _parse(text: str) -> tuple[str, Any]:
    """Return what kind of time stamp a text is, and the stamp, None when it is none."""
    try:
        number = float(text)
        return "a number", number if np.isfinite(number) else None
    except ValueError:
        pass
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return "", None
    return "a date" if date.tzinfo is None else "a date with a time zone", _in_utc(date)


def _in_utc(date: datetime) -> datetime:
    """Return a date without a time zone: that of UTC where it has one."""
    return date if date.tzinfo is None else date.astimezone(UTC).replace(tzinfo=None)
