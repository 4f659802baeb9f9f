"""Tables of time series as a source."""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Literal

from sensorium import Table, TableReader
from sensorium.errors import DataError, RecipeError, not_found
from sensorium.modalities.timeseries.series import Axes
from sensorium.modalities.timeseries.sources.channels import check_channels, long_channels, wide_channels
from sensorium.modalities.timeseries.sources.formats import FORMATS
from sensorium.modalities.timeseries.sources.recordings import (
    PARTS,
    LabelAt,
    Recording,
    RecordingSource,
    SlidingWindow,
)
from sensorium.modalities.timeseries.sources.time_index import Duplicates, TimeIndex
from sensorium.modalities.timeseries.sources.timestamps import seconds_of, timestamps


class SeriesTable(RecordingSource):
    """Time series out of CSV, TSV, JSON-lines or Parquet files.

    A wide table has a row for each time step and a column for each channel; a long one has a row for each value.
    Rows of one `id` are one recording, sorted by their time stamps. An empty or "nan" cell is a missing value, and so
    is a channel without a row at a time step of another one.

    Args:
        path: the file, a pattern of files such as "logs/*.csv", or a list of both; files have the same columns.
        id: the column that names the recording; None takes all rows as one recording, or "file" those of each file.
        time: the column of time stamps, numbers or dates; None, in the wide form, takes rows in their order.
        time_format: how dates are written, as `strptime` has it ("%d.%m.%Y %H:%M"), or the unit of numbers since 1970
            ("s", "ms", "us" or "ns"); None takes ISO dates, and numbers as they are.
        channels: wide: the columns of values; None takes every column that has no other use, and refuses one that looks
            like a label. Long: the names to take from the column `channel`, in this order; None takes all, sorted.
        exclude: columns, or names of channels, that are not used.
        units: units of channels, by column: {load: kW}; a name such as "load [kW]" says its own.
        channel: long: the column that names the channel of a row; None is the wide form.
        value: long: the column of values.
        step: sampling period, > 0: "10 ms", "5 min", a rate "50 Hz", or a number in seconds or the unit of time stamps
            that are numbers. Values are put on this grid, each on its nearest step, and a step without one is missing.
            None makes every time stamp a step, however far from the next.
        interpolate: the longest time between two values of which the steps between are interpolated linearly, with
            units as `step`; longer gaps stay missing. None interpolates nothing.
        duplicates: values of one channel at one time step: an "error", or their "mean", the "first" or the "last" of
            them in the file. With a `step` longer than the data's, "mean" resamples by averaging.
        labels: columns that evaluators predict; `label_at` says which of a record's steps gives the value.
        split: the column that says train, val or test, the same in all rows of a recording.
        group: the column whose equal cells keep recordings in one split, the same in all rows of a recording.
        format: the files' format; default by their extension.
        delimiter: the character between the cells of a CSV file; default ",".
        decimal: the decimal point of a CSV or TSV file.
        skip_rows: lines of a CSV or TSV file before the row of column names.
        encoding: of a CSV, TSV or JSON-lines file without a byte-order mark, such as cp1252; default utf-8.
        window: steps in a record; None keeps recordings whole. A shorter recording is one shorter record.
        stride: steps from one window to the next; None is `window`, so that windows do not overlap.
        by_time: fractions of each recording's time, at its end, that are val and test; None splits by whole recordings.
        gap: steps between two parts in time that belong to neither; None is one window.
        ahead: steps after a window whose values are its labels "ahead 1", "ahead 2", ..., for the evaluator 'forecast'.
        label_at: a window's label, where steps have their own: the "most" frequent one, or that of the "last" step.
        field: the field of the time series.
    """

    extensions = TableReader.EXTENSIONS

    def __init__(
        self,
        path: str | list[str],
        id: str | None = None,
        time: str | None = None,
        time_format: str | None = None,
        channels: list[str] | None = None,
        exclude: list[str] | None = None,
        units: dict[str, str] | None = None,
        channel: str | None = None,
        value: str | None = None,
        step: float | str | None = None,
        interpolate: float | str | None = None,
        duplicates: Duplicates = "error",
        labels: list[str] | None = None,
        split: str | None = None,
        group: str | None = None,
        format: Literal["csv", "tsv", "jsonl", "parquet"] | None = None,
        delimiter: str | None = None,
        decimal: str = ".",
        skip_rows: int = 0,
        encoding: str | None = None,
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
        period, bridge = seconds_of("step", step), seconds_of("interpolate", interpolate)
        if period is not None and time is None:
            raise RecipeError("data.source.step is the time between steps, and needs data.source.time.")
        if bridge is not None and period is None:
            raise RecipeError("data.source.interpolate fills gaps of an even grid, and needs data.source.step.")
        if time_format is not None and time is None:
            raise RecipeError("data.source.time_format is how time stamps are written, and needs data.source.time.")
        windows = SlidingWindow(window, stride, by_time, gap, ahead, label_at)
        files = _files(path, format)
        excluded, reader = (
            list(exclude or ()),
            TableReader(format, delimiter, decimal, skip_rows=skip_rows, encoding=encoding),
        )
        names = reader.column_names(files[0])
        if channel is None and (unknown := [name for name in excluded if name not in names]):
            problem = f"data.source.exclude names '{unknown[0]}', which is no column of '{files[0]}'"
            raise RecipeError(not_found(problem, unknown[0], names, f"its columns are: {', '.join(names)}"))
        by_file = id == "file" and "file" not in names
        id = None if by_file else id
        used = {name for name in (id, time, split, group, *(labels or ())) if name is not None}
        columns = [value] if value is not None else channels
        if columns is None:
            columns = [name for name in names if name not in used | set(excluded)]
        text = [column for column in (id, channel, split, group) if column is not None]
        text += [time] if time is not None and time_format is not None and "%" in time_format else []
        table = reader.read(files, text, [*([time] if time else []), *(labels or ()), *columns])
        if not len(table):
            raise DataError(f"{table.title} has no rows.")
        if channel is not None:
            found = long_channels(table, channel, columns[0], channels, excluded, units or {})
        else:
            if channels is None:
                check_channels(table, columns)
            found = wide_channels(table, columns, units or {})
        stamps_N = None if time is None else timestamps(table, time, time_format)
        index = TimeIndex(table, _ids(table, files, id, by_file), stamps_N, period, bridge)
        splits, groups = index.constants(split), index.constants(group)
        cells = {name: table.cells(name) for name in labels or ()}
        recordings = [
            Recording(
                name,
                values_CT,
                {label: index.labels_by_step(column, number) for label, column in cells.items()},
                splits[number],
                groups[number],
                None if index.times is None else index.times[number],
            )
            for number, (name, values_CT) in enumerate(zip(index.names, index.values(found, duplicates), strict=True))
        ]
        for recording in recordings:
            if recording.split not in (None, *PARTS):
                raise DataError(
                    f"The recording '{recording.id}' of {table.title} has the split '{recording.split}'; it must be "
                    "train, val or test."
                )
        period, is_even = index.period() or (None, True)
        is_date = stamps_N is not None and stamps_N.dtype.kind == "M"
        axes = Axes(tuple(one.name for one in found), period, "s" if is_date and period is not None else "")
        super().__init__(recordings, field, windows, table.title, axes)
        self._files, self._time, self._is_even = files, time, is_even
        self._labels = list(labels or ())
        self._ignored = [name for name in names if name not in {*used, *columns, channel}]

    def notes(self) -> list[str]:
        """Return which columns are channels, what else the table holds, and how far apart time steps are."""
        axes = self.axes
        assert axes is not None
        said = [f"{_counted(len(axes.channels), 'channel')}: {_listed(axes.channels)}"]
        if self._labels:
            said[0] += f"; labels, which no training reads: {_listed(self._labels)}"
        if self._ignored:
            said[0] += f"; not used: {_listed(self._ignored)}"
        rate = f"{axes.period:g} {axes.unit}".rstrip() if axes.period is not None else ""
        if rate and self._is_even:
            said.append(f"time steps are {rate} apart")
        elif rate:
            said.append(
                f"time stamps in '{self._time}' are uneven ({rate} apart in the median), and each is taken as one "
                "step: set data.source.step for an even grid"
            )
        if len(self._files) > len(self.recordings) == 1:
            said.append(f"the {len(self._files)} files are one recording: set data.source.id to file for one of each")
        return said


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    """Write names, of many the first ones."""
    shown = 20
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _files(path: str | list[str], format: str | None) -> list[Path]:
    """Return the files that paths and patterns name, those of a pattern sorted."""
    files: list[Path] = []
    for given in [path] if isinstance(path, str) else path:
        one = Path(given).expanduser()
        found = (
            [one]
            if one.exists() or not has_magic(given)
            else [Path(name) for name in sorted(glob(str(one), recursive=True))]
        )
        if not found:
            raise DataError(f"No file matches the pattern '{given}'; check data.source.path.")
        files += found
    if not files:
        raise DataError("The source 'series-table' got an empty list of files.")
    if format is None and (whole := [file for file in files if file.suffix.lower() in FORMATS.keys() - {".tsv"}]):
        raise DataError(f"'{whole[0]}' holds whole series, not a table: read it with the source 'series'.")
    return files


def _ids(table: Table, files: Sequence[Path], id: str | None, by_file: bool) -> list[str]:
    """Return the recording of each row: by the column `id`, its file, or one for all."""
    if id is not None:
        return table.identifiers(id)
    if not by_file:
        return [files[0].name.partition(".")[0]] * len(table)
    top = os.path.commonpath([file.absolute().parent for file in files])
    names = [file.absolute().relative_to(top).as_posix() for file in files]
    return [name for name, rows in zip(names, table.rows, strict=True) for _ in range(rows)]
