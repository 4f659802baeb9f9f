"""Recordings in memory as records: whole, or as sliding windows without leakage between splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from sensorium import Record, Source, Span, check_range
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

    def time(self, start: int, stop: int) -> Span:
        """Return the time stamps of the first step and the last one before `stop`."""
        if self.times_T is None:
            return Span(float(start), float(stop - 1))
        return Span(self.times_T[start], self.times_T[stop - 1])


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


class RecordingSource(Source):
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
        self._spans = [
            (number, *span) for number, r in enumerate(recordings) for span in windows.spans(r.values_CT.shape[1])
        ]
        if not self._spans:
            raise DataError(
                f"No series of {name} is longer than the {windows.ahead} steps after a window: lower data.source.ahead."
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """The one field."""
        return (self._field,)

    def __len__(self) -> int:
        return len(self._spans)

    def key(self, index: int) -> Record:
        """Return the record at `index` without its series."""
        number, start, stop, part = self._spans[index]
        r = self.recordings[number]
        first = stop - 1 if self._windows.label_at == "last" and self._windows.window is not None else start
        labels = {name: _label(value, first, stop) for name, value in r.labels.items()}
        axes = self._axes_of(r)
        if self._windows.ahead:
            names = None if axes is None else axes.channels
            labels |= _ahead(r.values_CT[:, stop - 1 : stop + self._windows.ahead], names)
        labels = {name: value for name, value in labels.items() if value is not None}
        if self._windows.window is None:
            time = None if r.times_T is None else r.time(start, stop)
            return Record(r.id, {}, labels, r.split, r.group, time)
        group = r.id if r.group is None else r.group
        group = f"{group}/{part}" if part else group
        return Record(f"{r.id}:{start}", {}, labels, part or r.split, group, r.time(start, stop))

    def __getitem__(self, index: int) -> Record:  # type: ignore[override]
        key = self.key(index)
        number, start, stop, _ = self._spans[index]
        values_CT, axes = self.recordings[number].values_CT[:, start:stop], self._axes_of(self.recordings[number])
        value = values_CT if axes is None else Series.of(values_CT, axes)
        return replace(key, values={self._field: value})

    def _axes_of(self, recording: Recording) -> Axes | None:
        """Return what the axes of a recording are called: its own channels, or those of all."""
        return self.axes if recording.channels is None else Axes(recording.channels)


def _label(value: Any, start: int, stop: int) -> Any:
    """Return a label's value over some steps: the most frequent one, the earliest of equals; None when it has none."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return value
    counts = Counter(label for label in value[start:stop] if label is not None)
    return counts.most_common(1)[0][0] if counts else None


def _ahead(values_CT: np.ndarray, names: Sequence[str] | None) -> dict[str, float | None]:
    """Return the last value of a window, "ahead 0", and the values after it as labels; a missing one is None."""
    several = len(values_CT) > 1
    names = [f"channel {channel}" for channel in range(len(values_CT))] if names is None else names
    return {
        f"ahead {step}, {name}" if several else f"ahead {step}": None if value != value else float(value)
        for name, values_T in zip(names, values_CT, strict=True)
        for step, value in enumerate(values_T)
    }
