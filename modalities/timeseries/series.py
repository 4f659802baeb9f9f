"""A time series with what its source knows of its axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np


@dataclass(frozen=True)
class Axes:
    """The axes of a time series.

    Args:
        channels: name of each channel, with its unit where it has one: "temperature [C]".
        period: time from one step to the next, > 0.
        unit: unit of `period`: "s", or "" for that of time stamps that are numbers.
        start: the first step on the axis: 0, or a spectrum's first wavelength.
    """

    channels: tuple[str, ...]
    period: float | None = None
    unit: str = ""
    start: float = 0.0


class Series(np.ndarray):
    """The values of a series, numbers (C, T) with nan where one is missing, and the names and units of its axes."""

    axes: Axes

    @classmethod
    def of(cls, values_CT: np.ndarray, axes: Axes) -> Self:
        """Return values with their axes."""
        series = values_CT.view(cls)
        series.axes = axes
        return series

    def __array_finalize__(self, other: Any) -> None:
        if hasattr(other, "axes"):
            self.axes = other.axes

    def to_dict(self) -> dict[str, Any]:
        """Return the values and the names of channels, as the modality takes them from a mapping."""
        return {"values": np.asarray(self), "channels": list(self.axes.channels)}

    def __reduce__(self) -> tuple[Any, ...]:
        return Series.of, (np.asarray(self), self.axes)
