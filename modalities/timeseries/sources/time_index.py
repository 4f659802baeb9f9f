"""The recording, and the time step of it, that each row of a table belongs to.

Letters: N rows of the table, M rows of one recording, T time steps, U values at different times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from sensorium import Table
from sensorium.errors import DataError
from sensorium.modalities.timeseries.precision import narrowed
from sensorium.modalities.timeseries.sources.channels import Channel
from sensorium.modalities.timeseries.sources.timestamps import units_per_second

Duplicates = Literal["error", "mean", "first", "last"]

MAX_GAP = 1000
"""Time steps for each row of a recording; more are a wrong step, which would fill the memory with missing values."""


class TimeIndex:
    """The time steps of a table's recordings: one for each time stamp, or those of an even grid.

    Args:
        table: the table.
        ids: the recording of each row.
        stamps_N: time stamps, datetime64 or numbers; None takes rows in their order.
        step: the sampling period of the grid, in seconds or the unit of numbers; None makes every stamp a step.
        bridge: the longest time between two values of which those on the grid between them are interpolated, in the
            same unit; None puts every value on the nearest step.

    Attributes:
        names: the recordings, in the order in which they come in the table.
        rows: of each recording, int64 (M,), in the order of the table.
        times: of each recording, the time stamps of its steps, (T,); None without time stamps.
    """

    def __init__(
        self,
        table: Table,
        ids: Sequence[str],
        stamps_N: np.ndarray | None,
        step: float | None,
        bridge: float | None = None,
    ) -> None:
        self.table, self.step, self.bridge = table, step, bridge
        numbers = {name: number for number, name in enumerate(dict.fromkeys(ids))}
        self.names = list(numbers)
        self._recording_N = np.array([numbers[name] for name in ids])
        self.rows = self.by_recording(np.arange(len(ids)))
        self.times: list[np.ndarray] | None = None if stamps_N is None else []
        self.lengths: list[int] = []
        self._position_N = np.empty(len(ids))
        """The time of each row in its recording, in steps: whole where every time stamp is one."""
        for name, rows_M in zip(self.names, self.rows, strict=True):
            if stamps_N is None:
                self._position_N[rows_M] = np.arange(len(rows_M))
                self.lengths.append(len(rows_M))
            else:
                self._place(name, rows_M, stamps_N[rows_M])

    def _place(self, name: str, rows_M: np.ndarray, stamps_M: np.ndarray) -> None:
        """Find the time steps of one recording."""
        assert self.times is not None
        if self.step is None:
            times_T, self._position_N[rows_M] = np.unique(stamps_M, return_inverse=True)
        else:
            is_date = stamps_M.dtype.kind == "M"
            first = stamps_M.min()
            elapsed_M = (stamps_M - first).astype(np.float64)
            self._position_N[rows_M] = elapsed_M / (self.step * units_per_second(stamps_M))
            length = int(np.rint(self._position_N[rows_M].max())) + 1
            if length > MAX_GAP * len(rows_M):
                raise DataError(
                    f"A data.source.step of {self.step:g} makes {length} time steps of the {len(rows_M)} rows of "
                    f"recording '{name}' in {self.table.title}: is it in seconds, or in the unit of numbers?"
                )
            elapsed_T = np.arange(length) * self.step
            times_T = first + ((elapsed_T * 1e6).round().astype("timedelta64[us]") if is_date else elapsed_T)
        self.times.append(times_T)
        self.lengths.append(len(times_T))

    def by_recording(self, rows_M: np.ndarray) -> list[np.ndarray]:
        """Return rows by the recording they belong to, each list in the order of the table."""
        ordered_M = rows_M[np.argsort(self._recording_N[rows_M], kind="stable")]
        return np.split(ordered_M, np.searchsorted(self._recording_N[ordered_M], np.arange(1, len(self.names))))

    def period(self) -> tuple[float, bool] | None:
        """Return the median time between steps, in seconds or the unit of numbers, and whether all are about equal."""
        if self.times is None or max(self.lengths) < 2:
            return None
        if self.step is not None:
            return self.step, True
        gaps = np.concatenate([np.diff(times_T).astype(np.float64) for times_T in self.times])
        median = float(np.median(gaps))
        return median / units_per_second(self.times[0]), bool((np.abs(gaps - median) <= 0.01 * median).all())

    def values(self, channels: Sequence[Channel], duplicates: Duplicates) -> list[np.ndarray]:
        """Return the values of each recording (C, T), nan where one is missing.

        They are float32 where that is exact and else float64; Python integers where some are beyond those of floats.
        """
        exact = object if any(channel.values_N.dtype == object for channel in channels) else np.float64
        values = [np.full((len(channels), length), np.nan, exact) for length in self.lengths]
        for row, channel in enumerate(channels):
            for number, rows_M in enumerate(self.by_recording(channel.rows_M)):
                values[number][row] = self._channel_values(channel, rows_M, number, duplicates)
        return [narrowed(values_CT) for values_CT in values]

    def _channel_values(self, channel: Channel, rows_M: np.ndarray, number: int, duplicates: Duplicates) -> np.ndarray:
        """Return the values of one channel of one recording by time step, (T,)."""
        position_M = self._position_N[rows_M]
        if self.bridge is None:
            position_M = np.rint(position_M)
        position_U, inverse_M, count_U = np.unique(position_M, return_inverse=True, return_counts=True)
        if duplicates == "error" and (count_U > 1).any():
            first, second, *_ = rows_M[inverse_M == np.argmax(count_U > 1)]
            raise DataError(
                f"The recording '{self.names[number]}' of {self.table.title} has {count_U.max()} values of "
                f"'{channel.name}' at one time step, rows {self.table.position(first).partition(' of ')[0]} and "
                f"{self.table.position(second)}: correct the time stamps, or set data.source.duplicates to mean, first "
                "or last."
            )
        values_M = channel.values_N[rows_M]
        if duplicates == "mean" and len(position_U) < len(rows_M):
            values_U = np.bincount(inverse_M, weights=values_M.astype(np.float64)) / count_U
        else:
            values_U = np.empty(len(position_U), values_M.dtype)
            order = slice(None, None, -1 if duplicates == "first" else 1)  # of duplicates, the last one written stays
            values_U[inverse_M[order]] = values_M[order]
        values_T = np.full(self.lengths[number], np.nan, values_U.dtype)
        values_T[np.rint(position_U).astype(np.int64)] = values_U
        if self.bridge is None or self.step is None or not len(position_U):
            return values_T
        return _interpolated(values_T, position_U, values_U.astype(np.float64), self.bridge / self.step)

    def labels_by_step(self, cells: Sequence[Any], number: int) -> list[Any]:
        """Return the label of each time step of a recording: that of its first row which has one, or None."""
        found: dict[int, Any] = {}
        for row in self.rows[number].tolist():
            if cells[row] is not None:
                found.setdefault(int(np.rint(self._position_N[row])), cells[row])
        return [found.get(step) for step in range(self.lengths[number])]

    def constants(self, column: str | None) -> list[str | None]:
        """Return the one cell that all rows of each recording have in a column."""
        if column is None:
            return [None] * len(self.names)
        cells = self.table.texts(column)
        found = []
        for name, rows_M in zip(self.names, self.rows, strict=True):
            distinct = dict.fromkeys(cells[row] for row in rows_M.tolist())
            if len(distinct) > 1:
                raise DataError(
                    f"The rows of recording '{name}' of {self.table.title} differ in column '{column}' "
                    f"({', '.join(map(str, distinct))[:80]}); a recording has one."
                )
            found.append(next(iter(distinct)))
        return found


def _interpolated(values_T: np.ndarray, position_U: np.ndarray, values_U: np.ndarray, bridge: float) -> np.ndarray:
    """Return values at whole steps, linear between neighbors at most `bridge` steps apart, else as `values_T` has them.

    Args:
        values_T: the values on their nearest steps.
        position_U: ascending times of the values, in steps.
        values_U: the values.
        bridge: the longest distance between two neighbors.
    """
    steps_T = np.arange(len(values_T))
    after_T = np.searchsorted(position_U, steps_T)
    inside_T = (after_T > 0) & (after_T < len(position_U))
    after_T = np.clip(after_T, 1, max(len(position_U) - 1, 1))
    if len(position_U) > 1:
        inside_T &= position_U[after_T] - position_U[after_T - 1] <= bridge
    linear_T = np.interp(steps_T, position_U, values_U)
    return np.where(inside_T & (len(position_U) > 1), linear_T, values_T.astype(np.float64))
