"""Sensor readings in tables as a source.

Letters: N rows of the table, M rows of them, C channels, T steps of one recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sensorium.errors import DataError, RecipeError, did_you_mean
from sensorium.modalities.timeseries.sources.columns import Columns
from sensorium.modalities.timeseries.sources.recordings import PARTS, LabelAt, Recording, RecordingSource, Windows

Repeats = Literal["error", "mean", "first", "last"]
Readings = tuple[str, np.ndarray, np.ndarray]
"""A channel: its name, the rows int64 (M,) that it was read in, and the column float64 (N,) of its values."""

SPARSEST = 1000
"""Steps for each reading beyond which `step` is taken for a mistake."""


class SeriesTable(RecordingSource):
    """Readings out of CSV or Parquet files, wide (a column for each channel) or long (a row for each value).

    Rows of one `id` are one recording, put in the order of their time stamps. An empty or "nan" cell is a missing
    value, and so is a channel that was not read at a moment at which another one was.

    Args:
        path: the file (.csv, .csv.gz, .parquet), or a list of files of the same columns.
        id: the column that names the recording; None takes all rows as one recording.
        time: the column of time stamps, numbers or dates; None, in the wide form, takes rows in their order.
        channels: wide: the columns of values; None takes every column that has no other use. Long: the names to take
            from the column `channel`, in this order; None takes all, sorted.
        channel: long: the column that names the channel of a row; None is the wide form.
        value: long: the column of values.
        step: time between steps (in seconds where stamps are dates): readings are put on this grid, and moments
            without a reading are missing. None makes every time stamp a step, however far from the next.
        repeats: what several readings of one channel at one moment are: an "error", or their "mean", the "first" or
            the "last" of them in the file.
        labels: columns that evaluators predict; a record has the value among its steps that `label_at` says.
        split: the column that says train, val or test, the same in all rows of a recording.
        group: the column whose equal cells keep recordings in one split, the same in all rows of a recording.
        delimiter: what separates the cells of a CSV file.
        decimal: what a decimal point looks like in a CSV file.
        window: steps in a record; None keeps recordings whole. A shorter recording is one shorter record.
        stride: steps from one window to the next; None is `window`, so that windows do not overlap.
        by_time: shares of each recording's time, at its end, that are val and test; None splits by whole recordings.
        gap: steps between two parts in time that belong to neither; None is one window.
        ahead: steps after a window whose values are its labels "ahead 1", "ahead 2", ..., for the evaluator 'forecast'.
        label_at: which label a window has, where steps have their own: the "most" frequent one, or that of the "last".
        field: the name under which records carry their series.
    """

    def __init__(
        self,
        path: str | list[str],
        id: str | None = None,
        time: str | None = None,
        channels: list[str] | None = None,
        channel: str | None = None,
        value: str | None = None,
        step: float | None = None,
        repeats: Repeats = "error",
        labels: list[str] | None = None,
        split: str | None = None,
        group: str | None = None,
        delimiter: str = ",",
        decimal: str = ".",
        window: int | None = None,
        stride: int | None = None,
        by_time: tuple[float, float] | None = None,
        gap: int | None = None,
        ahead: int = 0,
        label_at: LabelAt = "most",
        field: str = "timeseries",
    ) -> None:
        if (channel is None) != (value is None) or (channel is not None and time is None):
            raise RecipeError(
                "A long table needs data.source.channel, value and time; a wide one has no channel or value."
            )
        if step is not None and (time is None or step <= 0):
            raise RecipeError("data.source.step is a time above 0 between steps, and needs data.source.time.")
        windows = Windows(window, stride, by_time, gap, ahead, label_at)
        files = [Path(one).expanduser() for one in ([path] if isinstance(path, str) else path)]
        table = Columns(files, [c for c in (id, channel, split, group) if c is not None], delimiter, decimal)
        table.require(
            [id, time, channel, value, split, group, *(labels or ()), *((channel is None and channels) or ())]
        )
        if channel is None:
            used = {id, time, split, group, *(labels or ())}
            readings = _wide(table, [c for c in table.names if c not in used] if channels is None else channels)
        else:
            readings = _long(table, channel, value, channels)
        moments = Moments(table, id, time, step)
        constant = {name: _constant(table, column, moments) for name, column in (("split", split), ("group", group))}
        cells = {name: table.cells(name) for name in labels or ()}
        values = _values(readings, moments, repeats)
        recordings = [
            Recording(
                name,
                values_CT,
                {label: _at_steps(column, rows_M, moments) for label, column in cells.items()},
                constant["split"][number],
                constant["group"][number],
            )
            for number, (name, rows_M, values_CT) in enumerate(zip(moments.names, moments.rows, values, strict=True))
        ]
        for recording in recordings:
            if recording.split not in (None, *PARTS):
                raise DataError(
                    f"The recording '{recording.id}' of {table.title} has the split '{recording.split}'; it must be "
                    "train, val or test."
                )
        super().__init__(recordings, field, windows, table.title)


class Moments:
    """Which recording, and which step of it, each row of a table belongs to.

    Attributes:
        names: the recordings, in the order in which they come in the table.
        rows: of each recording, int64 (M,), in the order of the table.
        steps: of each recording, how many steps it has.
        step_N: int64, the step that a row is a reading of.
    """

    def __init__(self, table: Columns, id: str | None, time: str | None, step: float | None) -> None:
        self.table, self.time = table, time
        ids = [table.stem] * len(table) if id is None else table.texts(id)
        if None in ids:
            raise DataError(f"Row {ids.index(None) + 1} of {table.title} has an empty id in column '{id}'.")
        numbers = {name: number for number, name in enumerate(dict.fromkeys(ids))}
        self.names = [str(name) for name in numbers]
        self.of_N = np.array([numbers[name] for name in ids])
        self.rows = parted(np.arange(len(ids)), self.of_N, len(self.names))
        self.steps: list[int] = []
        self.step_N = np.empty(len(ids), np.int64)
        stamps_N, per_second = (np.arange(len(ids)), 1.0) if time is None else table.stamps(time)
        for name, rows_M in zip(self.names, self.rows, strict=True):
            stamps_M = stamps_N[rows_M]
            if step is None:
                _, self.step_N[rows_M] = np.unique(stamps_M, return_inverse=True)
            else:
                self.step_N[rows_M] = np.rint((stamps_M - stamps_M.min()) / (step * per_second))
            self.steps.append(int(self.step_N[rows_M].max()) + 1)
            if self.steps[-1] > SPARSEST * len(rows_M):
                raise DataError(
                    f"A data.source.step of {step} makes {self.steps[-1]} steps of the {len(rows_M)} readings of "
                    f"recording '{name}' in {table.title}: is it in seconds, or in the unit of numbers?"
                )


def parted(rows_M: np.ndarray, of_N: np.ndarray, count: int) -> list[np.ndarray]:
    """Return rows by the recording they belong to, each list in the order of the table."""
    ordered_M = rows_M[np.argsort(of_N[rows_M], kind="stable")]
    return np.split(ordered_M, np.searchsorted(of_N[ordered_M], np.arange(1, count)))


def _wide(table: Columns, channels: Sequence[str]) -> list[Readings]:
    """Return the readings of columns of values."""
    if not channels:
        raise DataError(f"{table.title} has no column of values left: name them with data.source.channels.")
    columns = {name: table.numbers(name) for name in channels}
    return [(name, np.flatnonzero(~np.isnan(values_N)), values_N) for name, values_N in columns.items()]


def _long(table: Columns, channel: str, value: str | None, channels: Sequence[str] | None) -> list[Readings]:
    """Return the readings of a column of values, by the channel that another column names."""
    assert value is not None, "checked by the source"
    names, values_N = table.texts(channel), table.numbers(value)
    if None in names:
        raise DataError(f"Row {names.index(None) + 1} of {table.title} names no channel in column '{channel}'.")
    known = sorted(set(map(str, names)))
    for wanted in channels or ():
        if wanted not in known:
            raise DataError(
                f"The column '{channel}' of {table.title} names no channel '{wanted}'{did_you_mean(wanted, known)}; "
                f"its channels are: {', '.join(known)}."
            )
    of_N, read_N = np.array(names), ~np.isnan(values_N)
    return [(name, np.flatnonzero((of_N == name) & read_N), values_N) for name in channels or known]


def _values(readings: Sequence[Readings], moments: Moments, repeats: Repeats) -> list[np.ndarray]:
    """Return the values of each recording, float32 (C, T), nan where there is no reading."""
    values = [np.full((len(readings), steps), np.nan, np.float32) for steps in moments.steps]
    for channel, (name, rows_M, column_N) in enumerate(readings):
        for number, of_one_M in enumerate(parted(rows_M, moments.of_N, len(values))):
            values[number][channel] = _placed(of_one_M, column_N, moments, number, name, repeats)
    return values


def _placed(
    rows_M: np.ndarray, column_N: np.ndarray, moments: Moments, number: int, channel: str, repeats: Repeats
) -> np.ndarray:
    """Return the readings of one channel of one recording at their steps: float64 (T,)."""
    steps_M, count = moments.step_N[rows_M], moments.steps[number]
    times_T = np.bincount(steps_M, minlength=count)
    if repeats == "error" and (times_T > 1).any():
        step = int(np.argmax(times_T > 1))
        first, second, *_ = rows_M[steps_M == step]
        raise DataError(
            f"The recording '{moments.names[number]}' of {moments.table.title} has {times_T[step]} readings of "
            f"'{channel}' at one moment, rows {first + 1} and {second + 1}: mend the column '{moments.time}', or set "
            "data.source.repeats to mean, first or last."
        )
    if repeats == "mean":
        summed_T = np.bincount(steps_M, weights=column_N[rows_M], minlength=count)
        return np.where(times_T > 0, summed_T / np.maximum(times_T, 1), np.nan)
    placed_T = np.full(count, np.nan)
    in_turn_M = rows_M[::-1] if repeats == "first" else rows_M  # whatever comes last stays
    placed_T[moments.step_N[in_turn_M]] = column_N[in_turn_M]
    return placed_T


def _at_steps(cells: Sequence[Any], rows_M: np.ndarray, moments: Moments) -> list[Any]:
    """Return the label of each step of a recording: that of its first row which has one, or None."""
    found: dict[int, Any] = {}
    for row in rows_M.tolist():
        if cells[row] is not None:
            found.setdefault(int(moments.step_N[row]), cells[row])
    return [found.get(step) for step in range(int(moments.step_N[rows_M].max()) + 1)]


def _constant(table: Columns, column: str | None, moments: Moments) -> list[str | None]:
    """Return the one cell that all rows of each recording have in a column."""
    if column is None:
        return [None] * len(moments.names)
    cells = table.texts(column)
    found = []
    for name, rows_M in zip(moments.names, moments.rows, strict=True):
        words = dict.fromkeys(cells[row] for row in rows_M.tolist())
        if len(words) > 1:
            raise DataError(
                f"The rows of recording '{name}' of {table.title} differ in column '{column}' "
                f"({', '.join(map(str, words))[:80]}); a recording has one."
            )
        found.append(next(iter(words)))
    return found
