"""Tables of time series as a source: one row for each time step (wide) or for each value (long).

Letters: N rows of the table, M rows of one recording, C channels, T time steps of one recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from sensorium import Table, TableReader
from sensorium.errors import DataError, RecipeError, not_found
from sensorium.modalities.timeseries.sources.formats import FORMATS
from sensorium.modalities.timeseries.sources.recordings import PARTS, LabelAt, Recording, RecordingSource, SlidingWindow
from sensorium.modalities.timeseries.sources.timestamps import timestamps

Duplicates = Literal["error", "mean", "first", "last"]

MAX_GAP = 1000
"""Time steps for each row beyond which `step` is taken for a mistake."""


class Channel(NamedTuple):
    """One channel: its name, the rows int64 (M,) that hold a value of it, and the column float64 (N,) of its values."""

    name: str
    rows_M: np.ndarray
    values_N: np.ndarray


class SeriesTable(RecordingSource):
    """Time series out of CSV, TSV, JSON-lines or Parquet files.

    A wide table has a row for each time step and a column for each channel; a long one has a row for each value.
    Rows of one `id` are one recording, sorted by their time stamps. An empty or "nan" cell is a missing value, and so
    is a channel without a row at a time step of another one.

    Args:
        path: the file, or a list of files with the same columns.
        id: the column that names the recording; None takes all rows as one recording.
        time: the column of time stamps, numbers or dates; None, in the wide form, takes rows in their order.
        channels: wide: the columns of values; None takes every column that has no other use. Long: the names to take
            from the column `channel`, in this order; None takes all, sorted.
        channel: long: the column that names the channel of a row; None is the wide form.
        value: long: the column of values.
        step: sampling period, > 0, in seconds where time stamps are dates: values are put on this grid, and a time
            step without one is missing. None makes every time stamp a step, however far from the next.
        duplicates: values of one channel at one time step: an "error", or their "mean", the "first" or the "last" of
            them in the file.
        labels: columns that evaluators predict; `label_at` says which of a record's steps gives the value.
        split: the column that says train, val or test, the same in all rows of a recording.
        group: the column whose equal cells keep recordings in one split, the same in all rows of a recording.
        format: the files' format; default by their extension.
        delimiter: the character between the cells of a CSV file; default ",".
        decimal: the decimal point of a CSV or TSV file.
        window: steps in a record; None keeps recordings whole. A shorter recording is one shorter record.
        stride: steps from one window to the next; None is `window`, so that windows do not overlap.
        by_time: fractions of each recording's time, at its end, that are val and test; None splits by whole recordings.
        gap: steps between two parts in time that belong to neither; None is one window.
        ahead: steps after a window whose values are its labels "ahead 1", "ahead 2", ..., for the evaluator 'forecast'.
        label_at: a window's label, where steps have their own: the "most" frequent one, or that of the "last" step.
        field: the field of the time series.
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
        duplicates: Duplicates = "error",
        labels: list[str] | None = None,
        split: str | None = None,
        group: str | None = None,
        format: Literal["csv", "tsv", "jsonl", "parquet"] | None = None,
        delimiter: str | None = None,
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
        windows = SlidingWindow(window, stride, by_time, gap, ahead, label_at)
        files = [Path(one).expanduser() for one in ([path] if isinstance(path, str) else path)]
        if not files:
            raise DataError("The source 'series-table' got an empty list of files.")
        if format is None and (whole := [file for file in files if file.suffix.lower() in FORMATS.keys() - {".tsv"}]):
            raise DataError(f"'{whole[0]}' holds whole series, not a table: read it with the source 'series'.")
        reader = TableReader(format, delimiter, decimal)
        columns = [value] if value is not None else channels
        if columns is None:
            used = {id, time, split, group, *(labels or ())}
            columns = [name for name in reader.column_names(files[0]) if name not in used]
        text = [column for column in (id, channel, split, group) if column is not None]
        table = reader.read(files, text, [*([time] if time else []), *(labels or ()), *columns])
        if not len(table):
            raise DataError(f"{table.title} has no rows.")
        found = _wide(table, columns) if channel is None else _long(table, channel, columns[0], channels)
        index = TimeIndex(table, files[0], id, time, step)
        constants = {name: _constants(table, column, index) for name, column in (("split", split), ("group", group))}
        cells = {name: table.cells(name) for name in labels or ()}
        values = _values(found, index, duplicates)
        recordings = [
            Recording(
                name,
                values_CT,
                {label: _labels_by_step(column, rows_M, index) for label, column in cells.items()},
                constants["split"][number],
                constants["group"][number],
            )
            for number, (name, rows_M, values_CT) in enumerate(zip(index.names, index.rows, values, strict=True))
        ]
        for recording in recordings:
            if recording.split not in (None, *PARTS):
                raise DataError(
                    f"The recording '{recording.id}' of {table.title} has the split '{recording.split}'; it must be "
                    "train, val or test."
                )
        super().__init__(recordings, field, windows, table.title)


class TimeIndex:
    """The recording, and the time step of it, that each row of a table belongs to.

    Attributes:
        names: the recordings, in the order in which they come in the table.
        rows: of each recording, int64 (M,), in the order of the table.
        lengths: of each recording, its number of time steps.
        recording_N: int64, the number of a row's recording.
        step_N: int64, the time step of a row.
    """

    def __init__(self, table: Table, file: Path, id: str | None, time: str | None, step: float | None) -> None:
        self.table, self.time = table, time
        ids = [file.name.partition(".")[0]] * len(table) if id is None else table.identifiers(id)
        numbers = {name: number for number, name in enumerate(dict.fromkeys(ids))}
        self.names = list(numbers)
        self.recording_N = np.array([numbers[name] for name in ids])
        self.rows = rows_by_recording(np.arange(len(ids)), self.recording_N, len(self.names))
        self.lengths: list[int] = []
        self.step_N = np.empty(len(ids), np.int64)
        stamps_N, per_second = (np.arange(len(ids)), 1.0) if time is None else timestamps(table, time)
        for name, rows_M in zip(self.names, self.rows, strict=True):
            stamps_M = stamps_N[rows_M]
            if step is None:
                _, self.step_N[rows_M] = np.unique(stamps_M, return_inverse=True)
            else:
                self.step_N[rows_M] = np.rint((stamps_M - stamps_M.min()) / (step * per_second))
            self.lengths.append(int(self.step_N[rows_M].max()) + 1)
            if self.lengths[-1] > MAX_GAP * len(rows_M):
                raise DataError(
                    f"A data.source.step of {step} makes {self.lengths[-1]} time steps of the {len(rows_M)} rows of "
                    f"recording '{name}' in {table.title}: is it in seconds, or in the unit of numbers?"
                )


def rows_by_recording(rows_M: np.ndarray, recording_N: np.ndarray, count: int) -> list[np.ndarray]:
    """Return rows by the recording they belong to, each list in the order of the table."""
    ordered_M = rows_M[np.argsort(recording_N[rows_M], kind="stable")]
    return np.split(ordered_M, np.searchsorted(recording_N[ordered_M], np.arange(1, count)))


def _numbers(table: Table, name: str) -> np.ndarray:
    return table.numbers(
        name,
        ": name the columns of values with data.source.channels, those to be predicted with data.source.labels, or "
        "the decimal point with data.source.decimal",
    )


def _wide(table: Table, channels: Sequence[str]) -> list[Channel]:
    """Return the channels of a wide table."""
    if not channels:
        raise DataError(f"{table.title} has no column of values left: name them with data.source.channels.")
    columns = {name: _numbers(table, name) for name in channels}
    return [Channel(name, np.flatnonzero(~np.isnan(values_N)), values_N) for name, values_N in columns.items()]


def _long(table: Table, channel: str, value: str, channels: Sequence[str] | None) -> list[Channel]:
    """Return the channels of a long table."""
    names, values_N = table.identifiers(channel, "channel name"), _numbers(table, value)
    known = sorted(set(names))
    for name in channels or ():
        if name not in known:
            raise DataError(
                not_found(
                    f"The column '{channel}' of {table.title} names no channel '{name}'",
                    name,
                    known,
                    f"its channels are: {', '.join(known)}",
                )
            )
    name_N, observed_N = np.array(names), ~np.isnan(values_N)
    return [Channel(name, np.flatnonzero((name_N == name) & observed_N), values_N) for name in channels or known]


def _values(channels: Sequence[Channel], index: TimeIndex, duplicates: Duplicates) -> list[np.ndarray]:
    """Return the values of each recording, float32 (C, T), nan where one is missing."""
    values = [np.full((len(channels), length), np.nan, np.float32) for length in index.lengths]
    for row, channel in enumerate(channels):
        for number, rows_M in enumerate(rows_by_recording(channel.rows_M, index.recording_N, len(values))):
            values[number][row] = _channel_values(channel, rows_M, index, number, duplicates)
    return values


def _channel_values(
    channel: Channel, rows_M: np.ndarray, index: TimeIndex, number: int, duplicates: Duplicates
) -> np.ndarray:
    """Return the values of one channel of one recording by time step: float64 (T,)."""
    steps_M, values_M, length = index.step_N[rows_M], channel.values_N[rows_M], index.lengths[number]
    count_T = np.bincount(steps_M, minlength=length)
    if duplicates == "error" and (count_T > 1).any():
        step = int(np.argmax(count_T > 1))
        first, second, *_ = rows_M[steps_M == step]
        raise DataError(
            f"The recording '{index.names[number]}' of {index.table.title} has {count_T[step]} values of "
            f"'{channel.name}' at one time step, rows {first + 1} and {second + 1}: correct the column "
            f"'{index.time}', or set data.source.duplicates to mean, first or last."
        )
    if duplicates == "mean":
        sum_T = np.bincount(steps_M, weights=values_M, minlength=length)
        return np.where(count_T > 0, sum_T / np.maximum(count_T, 1), np.nan)
    values_T = np.full(length, np.nan)
    order = slice(None, None, -1 if duplicates == "first" else 1)  # of duplicates, the last one written stays
    values_T[steps_M[order]] = values_M[order]
    return values_T


def _labels_by_step(cells: Sequence[Any], rows_M: np.ndarray, index: TimeIndex) -> list[Any]:
    """Return the label of each time step of a recording: that of its first row which has one, or None."""
    found: dict[int, Any] = {}
    for row in rows_M.tolist():
        if cells[row] is not None:
            found.setdefault(int(index.step_N[row]), cells[row])
    return [found.get(step) for step in range(int(index.step_N[rows_M].max()) + 1)]


def _constants(table: Table, column: str | None, index: TimeIndex) -> list[str | None]:
    """Return the one cell that all rows of each recording have in a column."""
    if column is None:
        return [None] * len(index.names)
    cells = table.texts(column)
    found = []
    for name, rows_M in zip(index.names, index.rows, strict=True):
        distinct = dict.fromkeys(cells[row] for row in rows_M.tolist())
        if len(distinct) > 1:
            raise DataError(
                f"The rows of recording '{name}' of {table.title} differ in column '{column}' "
                f"({', '.join(map(str, distinct))[:80]}); a recording has one."
            )
        found.append(next(iter(distinct)))
    return found
