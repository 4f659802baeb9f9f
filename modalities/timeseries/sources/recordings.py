"""Recordings in memory as records: whole, or as sliding windows without leakage between splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sensorium import OpenedAgain, Record, RecordColumns, check_range
from sensorium.contracts.record_columns import Column, label_column
from sensorium.errors import DataError, RecipeError
from sensorium.modalities.timeseries.series import Axes, Series

PARTS = ("train", "val", "test")
LabelAt = Literal["most", "last"]


@dataclass
class Recording:
    """One time series of a file, unscaled.

    Args:
        id: unique among the recordings of a source.
        values_CT: numbers (C, T), nan where a value is missing: float32 or float64, or integers, also as objects, which
            keep those beyond 2^53.
        labels: label name to one value, or to a sequence of T values, one for each time step.
        split: "train", "val", "test" or None.
        group: recordings of one group share a split.
        times_T: the time stamp of each step, datetime64 or float64 (T,); None numbers the steps.
        channels: name of each channel, where they are its own; None for those of the source's axes.
    """

    id: str
    values_CT: np.ndarray
    labels: Mapping[str, Any] = field(default_factory=dict)
    split: str | None = None
    group: str | None = None
    times_T: np.ndarray | None = None
    channels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class SlidingWindow:
    """Sliding windows over recordings.

    Args:
        window: time steps in a record; None keeps recordings whole. A shorter recording is one shorter record.
        stride: steps from one window to the next; None is `window`, so that windows do not overlap. The last window
            ends with the recording, and may overlap more than the others.
        by_time: the fractions of each recording's time, at its end, that are its val and its test part; None splits
            by whole recordings.
        gap: steps between two parts that belong to neither; None is one window.
        ahead: steps after a window whose values are its labels "ahead 1", "ahead 2", ... ("ahead 1, channel 0", or the
            name in place of the number, where there are several channels); they belong to the window's own part.
        label_at: the step whose label a window has: the "most" frequent one of all its steps, or the "last".

    Raises:
        RecipeError: when they do not fit each other.
    """

    window: int | None = None
    stride: int | None = None
    by_time: tuple[float, float] | None = None
    gap: int | None = None
    ahead: int = 0
    label_at: LabelAt = "most"

    def __post_init__(self) -> None:
        if self.window is None and (self.ahead or any(o is not None for o in (self.stride, self.by_time, self.gap))):
            raise RecipeError("The options stride, by_time, gap and ahead cut windows: set data.source.window too.")
        check_range("source", "[1, inf)", window=self.window, stride=self.stride)
        check_range("source", "[0, inf)", gap=self.gap, ahead=self.ahead)
        if self.gap is not None and self.by_time is None:
            raise RecipeError("data.source.gap lies between parts of a recording: set data.source.by_time too.")
        if self.by_time is not None and (min(self.by_time) < 0 or sum(self.by_time) >= 1):
            raise RecipeError(
                f"data.source.by_time holds the fractions of val and test, at least 0 and together below 1, not "
                f"{list(self.by_time)}."
            )

    def spans(self, length: int) -> Iterator[tuple[int, int, str | None]]:
        """Yield the windows of a recording: first step, the step after the last, and the split, or None."""
        if self.window is None:
            yield 0, length, None
            return
        for start, end, part in self._parts(length):
            stop = end - self.ahead
            if stop <= start:
                continue
            last = max(stop - self.window, start)
            for first in range(start, last, self.stride or self.window):
                yield first, first + self.window, part
            yield last, stop, part

    def _parts(self, length: int) -> Iterator[tuple[int, int, str | None]]:
        """Yield the parts of the time axis, which windows do not cross; empty ones are skipped."""
        if self.by_time is None:
            yield 0, length, None
            return
        gap = (self.window or 0) if self.gap is None else self.gap
        val, test = self.by_time
        starts = [0, round((1 - val - test) * length), round((1 - test) * length), length]
        for part, start, stop in zip(PARTS, starts, starts[1:], strict=False):
            start += gap if start else 0
            if start < stop:
                yield start, stop, part


class RecordingSource(OpenedAgain):
    """Recordings, or windows of them, under one field.

    A window is named "recording:first step". Windows of one recording are one group, and so share a split, unless
    they are split by time.

    Args:
        recordings: the time series.
        field: the field of the time series.
        windows: the windows that recordings are cut into.
        name: the source, for errors.
        axes: what the axes of all of them are called; None where the source does not know.

    Raises:
        DataError: when there is no recording, two have one id, or the windows of a single recording cannot be split.
    """

    def __init__(
        self, recordings: Sequence[Recording], field: str, windows: SlidingWindow, name: str, axes: Axes | None = None
    ) -> None:
        if not recordings:
            raise DataError(f"There is no series in {name}.")
        if twice := [id for id, count in Counter(r.id for r in recordings).items() if count > 1]:
            raise DataError(f"Two series of {name} have the id '{twice[0]}'; ids must be unique.")
        self.recordings, self._field, self._windows, self.axes = list(recordings), field, windows, axes
        if windows.ahead and len(sets := {r.channels or len(r.values_CT) for r in recordings}) > 1:
            raise DataError(
                f"The series of {name} have {len(sets)} different channel sets, and data.source.ahead makes a label of "
                "every channel, which all records must have: leave it out, or read series of one channel set."
            )
        split = next((r.id for r in recordings if r.split is not None), None)
        if windows.by_time is not None and split is not None:
            raise DataError(
                f"The series '{split}' of {name} has a split of its own, so it cannot be split by time as well: "
                "leave out data.source.by_time, or what gives the split."
            )
        groups = {r.id if r.group is None else r.group for r in recordings}
        if windows.window is not None and windows.by_time is None and split is None and len(groups) == 1:
            raise DataError(
                f"All windows of {name} belong to one recording, which cannot be split into train, val and test: "
                "set data.source.by_time to the fractions of val and test at its end, such as [0.1, 0.2]."
            )
        spans = (
            (number, start, stop, -1 if part is None else PARTS.index(part))
            for number, r in enumerate(recordings)
            for start, stop, part in windows.spans(r.values_CT.shape[1])
        )
        self._spans = np.fromiter(spans, np.dtype((np.int64, 4)))
        if not len(self._spans):
            raise DataError(
                f"No series of {name} is longer than the {windows.ahead} steps after a window: lower data.source.ahead."
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """The one field."""
        return (self._field,)

    def __len__(self) -> int:
        return len(self._spans)

    def columns(self) -> RecordColumns:
        """Return ids, labels, splits, groups and time stamps of all windows."""
        return self._columns

    @cached_property
    def _columns(self) -> RecordColumns:
        number_N, start_N, _, part_N = np.ascontiguousarray(self._spans.T)
        labels = {name: self._label(name) for name in dict.fromkeys(n for r in self.recordings for n in r.labels)}
        if self._windows.ahead:
            labels |= self._labels_ahead()
        ids = _taken([r.id for r in self.recordings], number_N)
        splits = _taken([r.split for r in self.recordings], number_N)
        if self._windows.window is None:
            groups = _taken([r.group for r in self.recordings], number_N)
            return RecordColumns(len(self), ids, labels, splits, groups, *self._times())
        groups = _taken([r.id if r.group is None else r.group for r in self.recordings], number_N)
        if self._windows.by_time is not None:
            splits = _taken(list(PARTS), part_N)
            groups = pc.binary_join_element_wise(groups, splits, "/")
        ids = pc.binary_join_element_wise(ids, pa.array(start_N).cast(pa.string()), ":")
        return RecordColumns(len(self), ids, labels, splits, groups, *self._times())

    def _label(self, name: str) -> Column:
        """Return a label of all windows: that of their recordings, or of their steps."""
        of_recording = [r.labels.get(name) for r in self.recordings]
        number_N, start_N, stop_N, _ = np.ascontiguousarray(self._spans.T)
        if not any(map(_has_steps, of_recording)):
            return label_column(name, of_recording).take(pa.array(number_N))
        is_last = self._windows.label_at == "last" and self._windows.window is not None
        spans = zip(number_N.tolist(), (stop_N - 1 if is_last else start_N).tolist(), stop_N.tolist(), strict=True)
        return label_column(name, [_label(of_recording[number], first, stop) for number, first, stop in spans])

    def _labels_ahead(self) -> dict[str, Column]:
        """Return the last value of each window, "ahead 0", and the values after it; a missing one is null."""
        axes, channels = self._axes_of(self.recordings[0]), len(self.recordings[0].values_CT)
        names = [f"channel {channel}" for channel in range(channels)] if axes is None else list(axes.channels)
        step_A = np.arange(self._windows.ahead + 1)
        x_CNA = np.concatenate(
            [
                r.values_CT[:, stop_M[:, None] - 1 + step_A].astype(np.float64)
                for r, (_, stop_M) in zip(self.recordings, self._windows_of_recordings(), strict=True)
            ],
            axis=1,
        )
        return {
            f"ahead {step}, {name}" if channels > 1 else f"ahead {step}": pa.array(x_NA[:, step], from_pandas=True)
            for name, x_NA in zip(names, x_CNA, strict=True)
            for step in step_A.tolist()
        }

    def _times(self) -> tuple[Column | None, Column | None]:
        """Return the time stamps of the first and the last step of all windows, or None where there are none."""
        whole = self._windows.window is None
        if whole and all(r.times_T is None for r in self.recordings):
            return None, None
        ends: list[list[np.ndarray]] = [[], []]
        for r, (start_M, stop_M) in zip(self.recordings, self._windows_of_recordings(), strict=True):
            for stamps, step_M in zip(ends, (start_M, stop_M - 1), strict=True):
                numbers_M = np.full(len(step_M), np.nan) if whole else step_M.astype(np.float64)
                stamps.append(numbers_M if r.times_T is None else r.times_T[step_M])
        return tuple(map(_stamps, ends))  # type: ignore[return-value]

    def _windows_of_recordings(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield for each recording the first steps of its windows, and the steps after their last ones."""
        edges = np.searchsorted(self._spans[:, 0], np.arange(len(self.recordings) + 1))
        for first, last in pairwise(edges.tolist()):
            yield self._spans[first:last, 1], self._spans[first:last, 2]

    def __getitem__(self, index: int) -> Record:  # type: ignore[override]
        key = self.key(index)
        number, start, stop, _ = self._spans[index].tolist()
        values_CT, axes = self.recordings[number].values_CT[:, start:stop], self._axes_of(self.recordings[number])
        value = values_CT if axes is None else Series.of(values_CT, axes)
        return replace(key, values={self._field: value})

    def _axes_of(self, recording: Recording) -> Axes | None:
        """Return what the axes of a recording are called: its own channels, or those of all."""
        return self.axes if recording.channels is None else Axes(recording.channels)


def _taken(words: Sequence[str | None], number_N: np.ndarray) -> pa.Array | None:
    """Return the word of each number as a column; None where all words are missing."""
    return None if all(word is None for word in words) else pa.array(words, pa.string()).take(pa.array(number_N))


def _stamps(parts: Sequence[np.ndarray]) -> Column:
    """Return time stamps of all recordings, null where a recording has none."""
    if any(stamps.dtype.kind == "M" for stamps in parts):
        dates = [s.astype("datetime64[ns]") if s.dtype.kind == "M" else np.full(len(s), "NaT", "M8[ns]") for s in parts]
        return pa.array(np.concatenate(dates))
    return pa.array(np.concatenate(parts).astype(np.float64), from_pandas=True)


def _has_steps(value: Any) -> bool:
    """Whether a label has a value for each time step."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def _label(value: Any, start: int, stop: int) -> Any:
    """Return a label's value over some steps: the most frequent one, the earliest of equals; None when it has none."""
    if not _has_steps(value):
        return value
    counts = Counter(label for label in value[start:stop] if label is not None)
    return counts.most_common(1)[0][0] if counts else None
